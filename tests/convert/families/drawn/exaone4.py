"""Random EXAONE 4 models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("exaone4", "Exaone4")


@drawn(*CLASSES)
def any_exaone4(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 7)}
    kinds = rng.choice([None, layer_types(rng, base["num_hidden_layers"])])
    windows = {"sliding_window": rng.choice([3, 5]), "layer_types": kinds}
    if rng.random() < 0.4:
        windows = {"sliding_window": None, "layer_types": ["full_attention"] * base["num_hidden_layers"]}
    config = hf.Exaone4Config(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        **windows,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
