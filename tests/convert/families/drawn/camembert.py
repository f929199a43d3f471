"""Random CamemBERT models."""

import transformers as hf

from tests.convert.families.drawn.roberta import sizes
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.CamembertForMaskedLM, "hidden": hf.CamembertModel,
    "sequence": hf.CamembertForSequenceClassification, "token": hf.CamembertForTokenClassification,
    "span": hf.CamembertForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_camembert(rng, head):
    return CLASSES[head](hf.CamembertConfig(**sizes(rng, head)))
