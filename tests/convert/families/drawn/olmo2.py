"""Random OLMo 2 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("olmo2", "Olmo2", "causal", "hidden", "sequence")


@drawn(*CLASSES)
def any_olmo2(rng, head):
    base = sizes(rng)
    config = hf.Olmo2Config(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        num_labels=3,
        eos_token_id=2,
    )
    return CLASSES[head](config)
