"""Random SmolLM3 models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("smollm3", "SmolLM3")


@drawn(*CLASSES)
def any_smollm3(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 7)}
    layers = base["num_hidden_layers"]
    window = rng.random() < 0.4
    config = hf.SmolLM3Config(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        mlp_bias=rng.random() < 0.5,
        use_sliding_window=window,
        sliding_window=rng.choice([3, 5]) if window else None,
        no_rope_layers=rng.choice([None, layer_types(rng, layers, 0, 1)]),
        no_rope_layer_interval=rng.choice([2, 4]),
        layer_types=layer_types(rng, layers) if window and rng.random() < 0.5 else None,
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        bos_token_id=1,
        eos_token_id=2,
        num_labels=3,
    )
    return CLASSES[head](config)
