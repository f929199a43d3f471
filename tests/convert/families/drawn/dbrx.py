"""Random DBRX models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.models import drawn

CLASSES = classes("dbrx", "Dbrx", "causal", "hidden")


@drawn(*CLASSES)
def any_dbrx(rng, head):
    base = sizes(rng)
    count, chosen = experts(rng)
    config = hf.DbrxConfig(
        vocab_size=base["vocab_size"],
        d_model=base["hidden_size"],
        n_heads=base["num_attention_heads"],
        n_layers=base["num_hidden_layers"],
        max_seq_len=64,
        attn_config={
            "kv_n_heads": base["num_key_value_heads"],
            "clip_qkv": rng.choice([8.0, 0.3]),  # theirs cannot do without
            "rope_theta": rng.choice([1e4, 5e5]),
        },
        ffn_config={
            "ffn_hidden_size": base["intermediate_size"],
            "moe_num_experts": count,
            "moe_top_k": chosen,
            "moe_normalize_expert_weights": rng.choice([None, 1.0]),
        },
        pad_token_id=base["pad_token_id"],
        attn_implementation="eager",
        experts_implementation="eager",
    )
    return CLASSES[head](config)
