"""Random Ministral 3 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.models import drawn

CLASSES = classes("ministral3", "Ministral3")


@drawn(*CLASSES)
def any_ministral3(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.Ministral3Config(
        **base,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": rng.choice([1e4, 1e6]),
            "factor": rng.choice([2.0, 16.0]),
            "original_max_position_embeddings": rng.choice([4, 8]),
            "max_position_embeddings": 64,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "llama_4_scaling_beta": rng.choice([0.1, 0.4]),
        }
        | rng.choice([{}, {"mscale": 1.0, "mscale_all_dim": 1.0}]),
        max_position_embeddings=64,
        sliding_window=rng.choice([None, 3, 5]),
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
