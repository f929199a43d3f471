"""Random ERNIE models."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.ErnieForMaskedLM,
    "hidden": hf.ErnieModel,
    "sequence": hf.ErnieForSequenceClassification,
    "token": hf.ErnieForTokenClassification,
    "span": hf.ErnieForQuestionAnswering,
}


@drawn(*CLASSES)
def any_ernie(rng, head):
    base = bert.sizes(rng) | ({"num_labels": 2} if head == "span" else {})
    return CLASSES[head](hf.ErnieConfig(**base, tie_word_embeddings=rng.random() < 0.7))
