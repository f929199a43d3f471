"""Random Cohere 2 models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("cohere2", "Cohere2", "causal", "hidden")


@drawn(*CLASSES)
def any_cohere2(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 7)}
    config = hf.Cohere2Config(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        logit_scale=rng.choice([0.0625, 1.0, 0.8]),
        layer_norm_eps=rng.choice([1e-5, 1e-3]),
        sliding_window=rng.choice([3, 5]),
        layer_types=rng.choice([None, layer_types(rng, base["num_hidden_layers"])]),
    )
    return CLASSES[head](config)
