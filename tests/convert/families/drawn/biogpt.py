"""Random BioGPT models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("biogpt", "BioGpt", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_biogpt(rng, head):
    heads = rng.choice([1, 2, 3])
    config = hf.BioGptConfig(
        vocab_size=rng.randrange(50, 140),
        max_position_embeddings=rng.randrange(16, 40),
        hidden_size=heads * rng.randrange(3, 9),
        num_hidden_layers=rng.randrange(2, 5),
        num_attention_heads=heads,
        intermediate_size=rng.randrange(20, 60),
        hidden_act=rng.choice(["gelu", "relu"]),
        scale_embedding=rng.random() < 0.7,
        tie_word_embeddings=rng.random() < 0.7,
        pad_token_id=rng.choice([0, 1]),
        num_labels=3,
        attn_implementation="eager",
    )
    return CLASSES[head](config)
