"""Random nanochat models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("nanochat", "NanoChat", "causal", "hidden")


@drawn(*CLASSES)
def any_nanochat(rng, head):
    base = sizes(rng)
    config = hf.NanoChatConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        hidden_act=rng.choice(["relu2", "gelu"]),
        final_logit_softcapping=rng.choice([None, 3.0, 15.0]),
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
    )
    return CLASSES[head](config)
