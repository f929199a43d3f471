"""Random XLM-RoBERTa-XL models."""

import transformers as hf

from tests.convert.families.drawn.roberta import sizes
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.XLMRobertaXLForMaskedLM,
    "hidden": hf.XLMRobertaXLModel,
    "sequence": hf.XLMRobertaXLForSequenceClassification,
    "token": hf.XLMRobertaXLForTokenClassification,
    "span": hf.XLMRobertaXLForQuestionAnswering,
}


@drawn(*CLASSES)
def any_xlm_roberta_xl(rng, head):
    return CLASSES[head](hf.XLMRobertaXLConfig(**sizes(rng, head)))
