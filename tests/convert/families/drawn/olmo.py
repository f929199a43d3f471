"""Random OLMo models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("olmo", "Olmo", "causal", "hidden", "sequence")


@drawn(*CLASSES)
def any_olmo(rng, head):
    base = sizes(rng)
    config = hf.OlmoConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        clip_qkv=rng.choice([None, 0.3]),
        num_labels=3,
        eos_token_id=2,
    )
    return CLASSES[head](config)
