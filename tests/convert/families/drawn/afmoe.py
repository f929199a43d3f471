"""Random AFMoE models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("afmoe", "Afmoe", "causal", "hidden")


@drawn(*CLASSES)
def any_afmoe(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 6), "head_dim": 2 * rng.randrange(2, 6)}
    count, chosen = experts(rng)
    config = hf.AfmoeConfig(
        **base,
        **rope(rng, base["head_dim"]),
        num_experts=count,
        num_experts_per_tok=chosen,
        num_shared_experts=rng.choice([1, 2]),
        num_dense_layers=rng.choice([0, 1]),
        moe_intermediate_size=rng.randrange(8, 20),
        route_scale=rng.choice([1.0, 2.5]),
        mup_enabled=rng.random() < 0.5,
        attention_bias=rng.random() < 0.4,
        sliding_window=rng.choice([3, 5]),
        global_attn_every_n_layers=rng.choice([2, 4]),
        layer_types=rng.choice([None, layer_types(rng, base["num_hidden_layers"])]),
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        experts_implementation="eager",
    )
    return CLASSES[head](config)
