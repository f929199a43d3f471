"""Random ALBERT models."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.AlbertForMaskedLM, "hidden": hf.AlbertModel, "sequence": hf.AlbertForSequenceClassification,
    "token": hf.AlbertForTokenClassification, "span": hf.AlbertForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_albert(rng, head):
    layers, groups = rng.choice([(2, 1), (3, 1), (4, 2), (4, 4), (6, 3)])
    base = bert.sizes(rng) | {"num_hidden_layers": layers} | ({"num_labels": 2} if head == "span" else {})
    config = hf.AlbertConfig(
        **base,
        embedding_size=rng.randrange(6, 20),
        num_hidden_groups=groups,
        tie_word_embeddings=rng.random() < 0.7,
    )
    return CLASSES[head](config)
