"""Random DeepSeek-V2 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("deepseek_v2", "DeepseekV2", "causal", "hidden", "sequence")


def latent(rng):
    """Sizes of latent attention, with or without low-rank queries, and the rotation of its channels."""
    turning = 2 * rng.randrange(2, 5)
    base = sizes(rng)
    base["num_key_value_heads"] = base["num_attention_heads"]
    found = rope(rng, turning)
    rotation = found["rope_parameters"]
    if rotation["rope_type"] == "yarn" and "attention_factor" not in rotation and rng.random() < 0.7:
        rotation |= {"mscale": rng.choice([0.7, 1.0]), "mscale_all_dim": rng.choice([0.7, 1.0])}
    return {
        **base,
        **found,
        "q_lora_rank": rng.choice([None, 6]),
        "kv_lora_rank": 2 * rng.randrange(2, 5),
        "qk_nope_head_dim": 2 * rng.randrange(1, 4),
        "qk_rope_head_dim": turning,
        "v_head_dim": rng.randrange(3, 8),
        "attention_bias": rng.random() < 0.4,
        "rms_norm_eps": rng.choice([1e-6, 1e-3]),
    }


def mixture(rng):
    """Routed experts in groups, shared ones, and first layers without."""
    groups = rng.choice([1, 2, 3])
    kept = rng.randrange(1, groups + 1)
    return {
        "n_routed_experts": groups * 3,
        "n_group": groups,
        "topk_group": kept,
        "num_experts_per_tok": rng.randrange(1, 2 * kept + 1),
        "n_shared_experts": rng.choice([1, 2]),
        "moe_intermediate_size": rng.randrange(8, 20),
        "routed_scaling_factor": rng.choice([1.0, 2.5]),
        "first_k_dense_replace": rng.choice([0, 1]),
        "experts_implementation": "eager",
    }


@drawn(*CLASSES)
def any_deepseek_v2(rng, head):
    config = hf.DeepseekV2Config(
        **latent(rng),
        **mixture(rng),
        topk_method=rng.choice(["greedy", "group_limited_greedy"]),
        mlp_bias=rng.random() < 0.3,
        num_labels=3,
    )
    return CLASSES[head](config)
