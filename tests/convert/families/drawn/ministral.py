"""Random Ministral models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("ministral", "Ministral")


@drawn(*CLASSES)
def any_ministral(rng, head):
    base = sizes(rng)
    base["head_dim"] = rng.choice([base["hidden_size"] // base["num_attention_heads"], 6])
    kinds = rng.choice([None, layer_types(rng, base["num_hidden_layers"])])
    config = hf.MinistralConfig(
        **base,
        **rope(rng, base["head_dim"]),
        sliding_window=rng.choice([3, 5]),
        layer_types=kinds,
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
