"""Random GPT-2 models."""

import transformers as hf

from tests.convert.families.comparing import DECODERS
from tests.convert.families.models import drawn

DECODERS.add("gpt2")
CLASSES = {
    "causal": hf.GPT2LMHeadModel, "hidden": hf.GPT2Model, "sequence": hf.GPT2ForSequenceClassification,
    "token": hf.GPT2ForTokenClassification, "span": hf.GPT2ForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_gpt2(rng, head):
    heads = rng.choice([1, 2, 3])
    config = hf.GPT2Config(
        vocab_size=rng.randrange(50, 140),
        n_positions=rng.randrange(16, 40),
        n_embd=heads * rng.randrange(3, 9),
        n_layer=rng.randrange(2, 5),
        n_head=heads,
        n_inner=rng.choice([None, 37]),
        activation_function=rng.choice(["gelu_new", "gelu", "relu"]),
        layer_norm_epsilon=rng.choice([1e-5, 1e-3]),
        scale_attn_weights=rng.random() < 0.7,
        scale_attn_by_inverse_layer_idx=rng.random() < 0.3,
        tie_word_embeddings=rng.random() < 0.5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=rng.choice([0, 3]),
        num_labels=rng.choice([2, 3, 5]),
        attn_implementation="eager",
    )
    return CLASSES[head](config)
