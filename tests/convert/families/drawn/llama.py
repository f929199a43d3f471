"""Random Llama models."""

import transformers as hf

from tests.convert.families.comparing import DECODERS
from tests.convert.families.models import drawn

DECODERS.add("llama")
CLASSES = {
    "causal": hf.LlamaForCausalLM, "hidden": hf.LlamaModel, "sequence": hf.LlamaForSequenceClassification,
    "token": hf.LlamaForTokenClassification, "span": hf.LlamaForQuestionAnswering,
}  # fmt: skip


def sizes(rng):
    """Sizes that most configurations of decoders have, under the names that most have for them."""
    groups, per_group, width = rng.choice([1, 2]), rng.choice([1, 2, 3]), 2 * rng.randrange(2, 6)
    heads = groups * per_group
    return {
        "vocab_size": rng.randrange(50, 140),
        "hidden_size": heads * width,
        "intermediate_size": rng.randrange(20, 60),
        "num_hidden_layers": rng.randrange(2, 5),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "pad_token_id": rng.choice([0, 3]),
        "tie_word_embeddings": rng.random() < 0.5,
        "attn_implementation": "eager",
    }


def rope(rng, head_dim, *, longest=64):
    """Rope parameters of any kind that all families know."""
    kind = rng.choice(["default", "default", "linear", "dynamic", "yarn", "llama3", "longrope"])
    if kind == "dynamic" and head_dim < 4:
        kind = "linear"  # theirs divides by head_dim - 2
    found = {"rope_type": kind, "rope_theta": rng.choice([1e3, 1e4, 5e5])}
    if kind != "default":
        found["factor"] = rng.choice([1.5, 4.0])
    if kind in (
        "yarn",
        "llama3",
        "longrope",
    ):  # a cache that is filled on both sides of longrope's switch equals no run
        found["original_max_position_embeddings"] = rng.choice([3 if kind == "longrope" else 8, 16])
    if kind == "yarn" and rng.random() < 0.5:
        found |= {"beta_fast": 16.0, "beta_slow": 2.0}
    if kind == "yarn" and rng.random() < 0.3:
        found |= {"truncate": False, "attention_factor": 1.3}
    if kind == "llama3":
        found |= {"low_freq_factor": 1.0, "high_freq_factor": rng.choice([2.0, 4.0])}
    if kind == "longrope":
        found |= {
            "short_factor": [1.0 + 0.1 * i for i in range(head_dim // 2)],
            "long_factor": [2.0 + 0.3 * i for i in range(head_dim // 2)],
        }
    return {"rope_parameters": found, "max_position_embeddings": longest}


@drawn(*CLASSES)
def any_llama(rng, head):
    base = sizes(rng)
    width = base["hidden_size"] // base["num_attention_heads"]
    if rng.random() < 0.5:
        width = 2 * rng.randrange(2, 6)
        base["head_dim"] = width
    config = hf.LlamaConfig(
        **base,
        **rope(rng, width),
        attention_bias=rng.random() < 0.5,
        mlp_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-6, 1e-5, 1e-3]),
        hidden_act=rng.choice(["silu", "gelu", "gelu_pytorch_tanh", "relu"]),
        num_labels=rng.choice([2, 3, 5]),
    )
    return CLASSES[head](config)
