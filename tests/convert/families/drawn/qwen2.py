"""Random Qwen2 models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("qwen2", "Qwen2")


def windows(rng, count):
    """Which layers have a window, said by their kinds or by the first of them."""
    return {
        "use_sliding_window": rng.random() < 0.6,
        "sliding_window": rng.choice([3, 5]),
        **rng.choice([{"max_window_layers": 1}, {"max_window_layers": 28}]),
    } | ({"layer_types": layer_types(rng, count), "use_sliding_window": True} if rng.random() < 0.3 else {})


@drawn(*CLASSES)
def any_qwen2(rng, head):
    base = sizes(rng)
    config = hf.Qwen2Config(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        **windows(rng, base["num_hidden_layers"]),
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        hidden_act=rng.choice(["silu", "gelu"]),
        num_labels=3,
    )
    return CLASSES[head](config)
