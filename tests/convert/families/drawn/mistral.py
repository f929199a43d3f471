"""Random Mistral models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("mistral", "Mistral")


@drawn(*CLASSES)
def any_mistral(rng, head):
    base = sizes(rng)
    base["head_dim"] = rng.choice([base["hidden_size"] // base["num_attention_heads"], 6])
    config = hf.MistralConfig(
        **base,
        **rope(rng, base["head_dim"]),
        sliding_window=rng.choice([None, 3, 5]),
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        hidden_act=rng.choice(["silu", "gelu"]),
        num_labels=3,
    )
    return CLASSES[head](config)
