"""Random Hunyuan models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("hunyuan_v1_dense", "HunYuanDenseV1", "causal", "hidden", "sequence")


@drawn(*CLASSES)
def any_hunyuan_v1_dense(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    found = rope(rng, base["head_dim"])
    if rng.random() < 0.5:
        found["rope_parameters"] = {
            "rope_type": "dynamic", "rope_theta": 1e4, "factor": 1.0, "alpha": rng.choice([2.0, 1000.0]),
        }  # fmt: skip
    config = hf.HunYuanDenseV1Config(
        **base,
        **found,
        attention_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
