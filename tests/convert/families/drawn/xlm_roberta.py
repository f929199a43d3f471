"""Random XLM-RoBERTa models."""

import transformers as hf

from tests.convert.families.drawn.roberta import sizes
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.XLMRobertaForMaskedLM, "hidden": hf.XLMRobertaModel,
    "sequence": hf.XLMRobertaForSequenceClassification, "token": hf.XLMRobertaForTokenClassification,
    "span": hf.XLMRobertaForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_xlm_roberta(rng, head):
    return CLASSES[head](hf.XLMRobertaConfig(**sizes(rng, head)))
