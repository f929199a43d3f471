"""Random BART models."""

import transformers as hf

from tests.convert.families.comparing import READ_AT_THE_END
from tests.convert.families.models import drawn

READ_AT_THE_END.add(hf.BartForSequenceClassification)
CLASSES = {
    "seq2seq": hf.BartForConditionalGeneration, "hidden": hf.BartModel, "sequence": hf.BartForSequenceClassification,
    "span": hf.BartForQuestionAnswering,
}  # fmt: skip


def sizes(rng):
    """Sizes that most configurations of BART's kin have; both sides differ in all that may differ."""
    heads = rng.choice([1, 2, 3])
    return {
        "vocab_size": rng.randrange(50, 140),
        "d_model": 2 * heads * rng.choice([2, 4, 6]),
        "encoder_layers": rng.randrange(1, 4),
        "decoder_layers": rng.randrange(1, 4),
        "encoder_attention_heads": heads,
        "decoder_attention_heads": 2 * heads,
        "encoder_ffn_dim": rng.randrange(20, 60),
        "decoder_ffn_dim": rng.randrange(20, 60),
        "activation_function": rng.choice(["gelu", "gelu_new", "relu", "silu"]),
        "max_position_embeddings": rng.randrange(20, 50),
        "scale_embedding": rng.random() < 0.5,
        "pad_token_id": rng.choice([0, 1, 4]),
        "bos_token_id": 3,
        "eos_token_id": 2,
        "decoder_start_token_id": 2,
        "forced_eos_token_id": 2,
        "attn_implementation": "eager",
    }


def tied(rng):
    """Whether all tables are one."""
    return {"tie_word_embeddings": rng.random() < 0.7}


@drawn(*CLASSES)
def any_bart(rng, head):
    labels = {"num_labels": 2 if head == "span" else rng.choice([2, 3, 5])}
    return CLASSES[head](hf.BartConfig(**sizes(rng), **tied(rng), **labels))
