"""Random GLM-4.5 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.deepseek_v2 import mixture
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.drawn.phi import partly
from tests.convert.families.models import drawn

CLASSES = classes("glm4_moe", "Glm4Moe", "causal", "hidden")


@drawn(*CLASSES)
def any_glm4_moe(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.Glm4MoeConfig(
        **base,
        **partly(rng, base["head_dim"]),
        **mixture(rng),
        norm_topk_prob=rng.random() < 0.7,
        use_qk_norm=rng.random() < 0.5,
        attention_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
    )
    return CLASSES[head](config)
