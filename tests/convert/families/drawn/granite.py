"""Random Granite models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("granite", "Granite", "causal", "hidden")


@drawn(*CLASSES)
def any_granite(rng, head):
    base = sizes(rng)
    config = hf.GraniteConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        mlp_bias=rng.random() < 0.5,
        embedding_multiplier=rng.choice([1.0, 12.0]),
        logits_scaling=rng.choice([1.0, 8.0, 3]),
        residual_multiplier=rng.choice([1.0, 0.22]),
        attention_multiplier=rng.choice([1.0, 0.0078125, 0.3]),
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
    )
    return CLASSES[head](config)
