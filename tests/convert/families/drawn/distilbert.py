"""Random DistilBERT models."""

import transformers as hf

from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.DistilBertForMaskedLM, "hidden": hf.DistilBertModel,
    "sequence": hf.DistilBertForSequenceClassification, "token": hf.DistilBertForTokenClassification,
    "span": hf.DistilBertForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_distilbert(rng, head):
    heads = rng.choice([1, 2, 3])
    config = hf.DistilBertConfig(
        vocab_size=rng.randrange(50, 140),
        dim=heads * 2 * rng.randrange(2, 6),
        n_layers=rng.randrange(2, 5),
        n_heads=heads,
        hidden_dim=rng.randrange(20, 60),
        activation=rng.choice(["gelu", "gelu_new", "relu", "silu"]),
        max_position_embeddings=rng.randrange(20, 50),
        sinusoidal_pos_embds=rng.random() < 0.3,
        pad_token_id=rng.choice([0, 1]),
        tie_word_embeddings=rng.random() < 0.7,
        num_labels=2 if head == "span" else rng.choice([2, 3, 5]),
        attn_implementation="eager",
    )
    return CLASSES[head](config)
