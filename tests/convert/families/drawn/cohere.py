"""Random Cohere models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("cohere", "Cohere", "causal", "hidden")


@drawn(*CLASSES)
def any_cohere(rng, head):
    base = sizes(rng)
    config = hf.CohereConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        use_qk_norm=rng.random() < 0.5,
        logit_scale=rng.choice([0.0625, 1.0, 0.8]),
        layer_norm_eps=rng.choice([1e-5, 1e-3]),
    )
    return CLASSES[head](config)
