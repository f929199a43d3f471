"""Random ELECTRA models."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.ElectraForMaskedLM, "hidden": hf.ElectraModel, "pretraining": hf.ElectraForPreTraining,
    "sequence": hf.ElectraForSequenceClassification, "token": hf.ElectraForTokenClassification,
    "span": hf.ElectraForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_electra(rng, head):
    base = bert.sizes(rng) | ({"num_labels": 2} if head == "span" else {})
    width = base["hidden_size"] if rng.random() < 0.3 else rng.randrange(6, 20)
    config = hf.ElectraConfig(**base, embedding_size=width, tie_word_embeddings=rng.random() < 0.7)
    return CLASSES[head](config)
