"""Random GPT-J models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("gptj", "GPTJ", "causal", "hidden", "sequence", "span")


def gpt_sizes(rng, multiple=1):
    """Sizes under the names that GPT-J's descendants have for them."""
    heads, width = multiple * rng.choice([1, 2, 3]), 2 * rng.randrange(2, 6)
    return {
        "vocab_size": rng.randrange(50, 140),
        "n_positions": rng.randrange(16, 40),
        "n_embd": heads * width,
        "n_layer": rng.randrange(2, 5),
        "n_head": heads,
        "rotary_dim": 2 * rng.randrange(1, width // 2 + 1),
        "n_inner": rng.choice([None, 37]),
        "activation_function": rng.choice(["gelu_new", "gelu", "relu"]),
        "layer_norm_epsilon": rng.choice([1e-5, 1e-3]),
        "tie_word_embeddings": rng.random() < 0.3,
        "pad_token_id": rng.choice([0, 3]),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "attn_implementation": "eager",
    }


@drawn(*CLASSES)
def any_gptj(rng, head):
    config = hf.GPTJConfig(**gpt_sizes(rng), num_labels=2 if head == "span" else 3)
    return CLASSES[head](config)
