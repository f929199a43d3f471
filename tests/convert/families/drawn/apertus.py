"""Random Apertus models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("apertus", "Apertus", "causal", "hidden", "token")


@drawn(*CLASSES)
def any_apertus(rng, head):
    base = sizes(rng)
    config = hf.ApertusConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        hidden_act=rng.choice(["xielu", "xielu", "gelu"]),
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
