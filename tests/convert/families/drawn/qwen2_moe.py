"""Random Qwen2-MoE models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("qwen2_moe", "Qwen2Moe")


@drawn(*CLASSES)
def any_qwen2_moe(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 6)}
    count, chosen = experts(rng)
    kinds = {"use_sliding_window": True, "layer_types": layer_types(rng, base["num_hidden_layers"])}
    config = hf.Qwen2MoeConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        **rng.choice([{}, kinds]),
        sliding_window=rng.choice([3, 5]),
        num_experts=count,
        num_experts_per_tok=chosen,
        moe_intermediate_size=rng.randrange(10, 30),
        shared_expert_intermediate_size=rng.randrange(10, 30),
        norm_topk_prob=rng.random() < 0.5,
        qkv_bias=rng.random() < 0.7,
        decoder_sparse_step=rng.choice([1, 1, 2]),
        mlp_only_layers=rng.choice([[], [0], [1]]),
        experts_implementation="eager",
        num_labels=3,
    )
    return CLASSES[head](config)
