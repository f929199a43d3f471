"""Random MiniCPM3 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.deepseek_v2 import latent
from tests.convert.families.models import drawn

CLASSES = classes("minicpm3", "MiniCPM3", "causal", "hidden", "sequence")


@drawn(*CLASSES)
def any_minicpm3(rng, head):
    config = hf.MiniCPM3Config(
        **latent(rng),
        scale_emb=rng.choice([1, 12]),
        scale_depth=rng.choice([1.0, 1.4]),
        dim_model_base=rng.choice([4, 256]),
        num_labels=3,
    )
    return CLASSES[head](config)
