"""Random BERT models."""

import transformers as hf

from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.BertForMaskedLM, "hidden": hf.BertModel, "sequence": hf.BertForSequenceClassification,
    "token": hf.BertForTokenClassification, "span": hf.BertForQuestionAnswering,
}  # fmt: skip


def sizes(rng):
    """Sizes that most configurations of encoders have."""
    heads = rng.choice([1, 2, 3])
    return {
        "vocab_size": rng.randrange(50, 140),
        "hidden_size": heads * 2 * rng.randrange(2, 6),
        "num_hidden_layers": rng.randrange(2, 5),
        "num_attention_heads": heads,
        "intermediate_size": rng.randrange(20, 60),
        "hidden_act": rng.choice(["gelu", "gelu_new", "relu", "silu"]),
        "max_position_embeddings": rng.randrange(20, 50),
        "type_vocab_size": rng.choice([2, 3]),
        "layer_norm_eps": rng.choice([1e-12, 1e-5, 1e-3]),
        "pad_token_id": rng.choice([0, 1]),
        "num_labels": rng.choice([2, 3, 5]),
        "attn_implementation": "eager",
    }


@drawn(*CLASSES)
def any_bert(rng, head):
    base = sizes(rng) | ({"num_labels": 2} if head == "span" else {})
    return CLASSES[head](hf.BertConfig(**base, tie_word_embeddings=rng.random() < 0.7))
