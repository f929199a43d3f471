"""Random Seed-OSS models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("seed_oss", "SeedOss")


@drawn(*CLASSES)
def any_seed_oss(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.SeedOssConfig(
        **base,
        **rope(rng, base["head_dim"]),
        attention_bias=rng.random() < 0.6,
        attention_out_bias=rng.random() < 0.4,
        mlp_bias=rng.random() < 0.4,
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
