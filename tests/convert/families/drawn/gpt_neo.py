"""Random GPT-Neo models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("gpt_neo", "GPTNeo")


@drawn(*CLASSES)
def any_gpt_neo(rng, head):
    heads, layers = rng.choice([1, 2, 3]), rng.randrange(2, 6)
    config = hf.GPTNeoConfig(
        vocab_size=rng.randrange(50, 140),
        max_position_embeddings=rng.randrange(16, 40),
        hidden_size=heads * rng.randrange(3, 9),
        num_layers=layers,
        num_heads=heads,
        attention_types=rng.choice([[[["global"], layers]], [[["local"], 1], [["global"], layers - 1]]])
        if layers % 2
        else [[["global", "local"], layers // 2]],
        intermediate_size=rng.choice([None, 37]),
        window_size=rng.choice([3, 5]),
        activation_function=rng.choice(["gelu_new", "gelu", "relu"]),
        layer_norm_epsilon=rng.choice([1e-5, 1e-3]),
        tie_word_embeddings=rng.random() < 0.5,
        pad_token_id=rng.choice([0, 3]),
        bos_token_id=1,
        eos_token_id=2,
        num_labels=2 if head == "span" else 3,
        attn_implementation="eager",
    )
    return CLASSES[head](config)
