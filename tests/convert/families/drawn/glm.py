"""Random GLM models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.drawn.phi import partly
from tests.convert.families.models import drawn

CLASSES = classes("glm", "Glm", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_glm(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.GlmConfig(
        **base,
        **partly(rng, base["head_dim"]),
        attention_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1.5625e-7, 1e-3]),
        num_labels=3,
        eos_token_id=2,
    )
    return CLASSES[head](config)
