"""Random Falcon models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("falcon", "Falcon")


@drawn(*CLASSES)
def any_falcon(rng, head):
    base = sizes(rng)
    groups = base.pop("num_key_value_heads")
    kind = rng.choice(["7b", "40b", "11b", "rw", "rw rotating"])
    kinds = {
        "7b": {"multi_query": True},
        "40b": {"new_decoder_architecture": True, "num_kv_heads": groups},
        "11b": {"new_decoder_architecture": True, "num_kv_heads": groups, "num_ln_in_parallel_attn": 1},
        "rw": {"multi_query": False, "parallel_attn": False, "alibi": True},
        "rw rotating": {"multi_query": rng.random() < 0.5, "parallel_attn": False},
    }
    base.pop("intermediate_size")
    base["attn_implementation"] = "sdpa" if kind == "rw" else "eager"  # theirs adds ALiBi twice when eager
    config = hf.FalconConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        **kinds[kind],
        bias=rng.random() < 0.5,
        ffn_hidden_size=rng.choice([None, 37]),
        activation=rng.choice(["gelu", "relu"]),
        layer_norm_epsilon=rng.choice([1e-5, 1e-3]),
        num_labels=2 if head == "span" else 3,
    )
    return CLASSES[head](config)
