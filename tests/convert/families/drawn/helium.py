"""Random Helium models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("helium", "Helium", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_helium(rng, head):
    base = sizes(rng)
    base["head_dim"] = base["hidden_size"] // base["num_attention_heads"]
    config = hf.HeliumConfig(
        **base,
        **rope(rng, base["head_dim"]),
        attention_bias=rng.random() < 0.5,
        mlp_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-8, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
