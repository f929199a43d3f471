"""Random XGLM models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("xglm", "XGLM", "causal", "hidden")


@drawn(*CLASSES)
def any_xglm(rng, head):
    heads = rng.choice([1, 2, 3])
    config = hf.XGLMConfig(
        vocab_size=rng.randrange(50, 140),
        max_position_embeddings=rng.randrange(16, 40),
        d_model=heads * 2 * rng.randrange(2, 6),
        num_layers=rng.randrange(2, 5),
        attention_heads=heads,
        ffn_dim=rng.randrange(20, 60),
        activation_function=rng.choice(["gelu", "relu"]),
        scale_embedding=rng.random() < 0.7,
        activation_dropout=0.1,
        tie_word_embeddings=rng.random() < 0.7,
        pad_token_id=rng.choice([0, 1]),
        attn_implementation="eager",
    )
    return CLASSES[head](config)
