"""Random Persimmon models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.drawn.phi import partly
from tests.convert.families.models import drawn

CLASSES = classes("persimmon", "Persimmon", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_persimmon(rng, head):
    base = sizes(rng)
    base.pop("num_key_value_heads")
    config = hf.PersimmonConfig(
        **base,
        **partly(rng, base["hidden_size"] // base["num_attention_heads"]),
        qk_layernorm=rng.random() < 0.6,
        hidden_act=rng.choice(["relu2", "gelu"]),
        layer_norm_eps=rng.choice([1e-5, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
