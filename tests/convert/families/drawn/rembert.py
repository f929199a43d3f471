"""Random RemBERT models."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.RemBertForMaskedLM,
    "hidden": hf.RemBertModel,
    "sequence": hf.RemBertForSequenceClassification,
    "token": hf.RemBertForTokenClassification,
    "span": hf.RemBertForQuestionAnswering,
}


@drawn(*CLASSES)
def any_rembert(rng, head):
    base = bert.sizes(rng) | ({"num_labels": 2} if head == "span" else {})
    config = hf.RemBertConfig(
        **base,
        input_embedding_size=rng.randrange(6, 20),
        output_embedding_size=rng.randrange(6, 20),
        bos_token_id=2,
        eos_token_id=3,
    )
    return CLASSES[head](config)
