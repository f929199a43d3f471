"""Random MiniMax M2 models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.drawn.phi import partly
from tests.convert.families.models import drawn

CLASSES = classes("minimax_m2", "MiniMaxM2", "causal", "hidden")


@drawn(*CLASSES)
def any_minimax_m2(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    count, chosen = experts(rng)
    config = hf.MiniMaxM2Config(
        **base,
        **partly(rng, base["head_dim"]),
        num_local_experts=count,
        num_experts_per_tok=chosen,
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        experts_implementation="eager",
    )
    return CLASSES[head](config)
