"""Random Gemma models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("gemma", "Gemma", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_gemma(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.GemmaConfig(
        **base,
        **rope(rng, base["head_dim"]),
        attention_bias=rng.random() < 0.5,
        hidden_act=rng.choice(["gelu", "gelu_pytorch_tanh", "silu"]),
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
