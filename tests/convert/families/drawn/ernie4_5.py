"""Random ERNIE 4.5 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("ernie4_5", "Ernie4_5", "causal", "hidden")


@drawn(*CLASSES)
def any_ernie4_5(rng, head):
    base = {**sizes(rng), "head_dim": rng.choice([None, 6, 8])}
    config = hf.Ernie4_5Config(
        **base,
        **rope(rng, base["head_dim"] or base["hidden_size"] // base["num_attention_heads"]),
        use_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
    )
    return CLASSES[head](config)
