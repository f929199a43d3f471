"""Random GPTBigCode models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.models import drawn

CLASSES = classes("gpt_bigcode", "GPTBigCode", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_gpt_bigcode(rng, head):
    heads = rng.choice([1, 2, 3])
    config = hf.GPTBigCodeConfig(
        vocab_size=rng.randrange(50, 140),
        n_positions=rng.randrange(16, 40),
        n_embd=heads * rng.randrange(3, 9),
        n_layer=rng.randrange(2, 5),
        n_head=heads,
        n_inner=rng.choice([None, 37]),
        multi_query=rng.random() < 0.5,
        activation_function=rng.choice(["gelu_pytorch_tanh", "gelu", "relu"]),
        layer_norm_epsilon=rng.choice([1e-5, 1e-3]),
        scale_attn_weights=rng.random() < 0.7,
        tie_word_embeddings=rng.random() < 0.6,
        pad_token_id=rng.choice([0, 3]),
        bos_token_id=1,
        eos_token_id=2,
        num_labels=3,
        attn_implementation="eager",
    )
    return CLASSES[head](config)
