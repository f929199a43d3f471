"""Random Qwen3-MoE models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("qwen3_moe", "Qwen3Moe")


@drawn(*CLASSES)
def any_qwen3_moe(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 6), "head_dim": 2 * rng.randrange(2, 6)}
    count, chosen = experts(rng)
    config = hf.Qwen3MoeConfig(
        **base,
        **rope(rng, base["head_dim"]),
        use_sliding_window=rng.random() < 0.4,
        sliding_window=rng.choice([3, 5]),
        attention_bias=rng.random() < 0.5,
        num_experts=count,
        num_experts_per_tok=chosen,
        moe_intermediate_size=rng.randrange(10, 30),
        norm_topk_prob=rng.random() < 0.5,
        decoder_sparse_step=rng.choice([1, 1, 2]),
        mlp_only_layers=rng.choice([[], [0], [1]]),
        experts_implementation="eager",
        num_labels=3,
    )
    return CLASSES[head](config)
