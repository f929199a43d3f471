"""Random StableLM models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.drawn.phi import partly
from tests.convert.families.models import drawn

CLASSES = classes("stablelm", "StableLm", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_stablelm(rng, head):
    base = sizes(rng)
    config = hf.StableLmConfig(
        **base,
        **partly(rng, base["hidden_size"] // base["num_attention_heads"]),
        use_qkv_bias=rng.random() < 0.5,
        qk_layernorm=rng.random() < 0.5,
        use_parallel_residual=rng.random() < 0.5,
        hidden_act=rng.choice(["silu", "gelu"]),
        layer_norm_eps=rng.choice([1e-5, 1e-3]),
        hidden_dropout=0.1,
        num_labels=3,
    )
    return CLASSES[head](config)
