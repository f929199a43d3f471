"""Random DeepSeek-V3 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.deepseek_v2 import latent, mixture
from tests.convert.families.models import drawn

CLASSES = classes("deepseek_v3", "DeepseekV3", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_deepseek_v3(rng, head):
    config = hf.DeepseekV3Config(
        **latent(rng),
        **mixture(rng),
        norm_topk_prob=rng.random() < 0.7,
        rope_interleave=rng.random() < 0.7,
        num_labels=3,
    )
    return CLASSES[head](config)
