"""Random Qwen3 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.drawn.qwen2 import windows
from tests.convert.families.models import drawn

CLASSES = classes("qwen3", "Qwen3")


@drawn(*CLASSES)
def any_qwen3(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.Qwen3Config(
        **base,
        **rope(rng, base["head_dim"]),
        **windows(rng, base["num_hidden_layers"]),
        attention_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
