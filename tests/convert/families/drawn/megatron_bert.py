"""Random Megatron-BERT models."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.MegatronBertForMaskedLM,
    "hidden": hf.MegatronBertModel,
    "sequence": hf.MegatronBertForSequenceClassification,
    "token": hf.MegatronBertForTokenClassification,
    "span": hf.MegatronBertForQuestionAnswering,
}


@drawn(*CLASSES)
def any_megatron_bert(rng, head):
    base = bert.sizes(rng) | ({"num_labels": 2} if head == "span" else {})
    return CLASSES[head](hf.MegatronBertConfig(**base, tie_word_embeddings=rng.random() < 0.7))
