"""Random MPNet models."""

import transformers as hf

from tests.convert.families.drawn.roberta import sizes
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.MPNetForMaskedLM, "hidden": hf.MPNetModel, "sequence": hf.MPNetForSequenceClassification,
    "token": hf.MPNetForTokenClassification, "span": hf.MPNetForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_mpnet(rng, head):
    base = {key: value for key, value in sizes(rng, head).items() if key != "type_vocab_size"}
    return CLASSES[head](hf.MPNetConfig(**base | {"pad_token_id": 1}))
