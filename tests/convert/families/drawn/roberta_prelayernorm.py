"""Random RoBERTa-PreLayerNorm models."""

import transformers as hf

from tests.convert.families.drawn.roberta import sizes
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.RobertaPreLayerNormForMaskedLM,
    "hidden": hf.RobertaPreLayerNormModel,
    "sequence": hf.RobertaPreLayerNormForSequenceClassification,
    "token": hf.RobertaPreLayerNormForTokenClassification,
    "span": hf.RobertaPreLayerNormForQuestionAnswering,
}


@drawn(*CLASSES)
def any_roberta_prelayernorm(rng, head):
    return CLASSES[head](hf.RobertaPreLayerNormConfig(**sizes(rng, head)))
