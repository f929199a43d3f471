"""Random mBART models."""

import transformers as hf

from tests.convert.families.comparing import READ_AT_THE_END
from tests.convert.families.drawn.bart import sizes, tied
from tests.convert.families.models import drawn

READ_AT_THE_END.add(hf.MBartForSequenceClassification)
CLASSES = {
    "seq2seq": hf.MBartForConditionalGeneration,
    "hidden": hf.MBartModel,
    "sequence": hf.MBartForSequenceClassification,
    "span": hf.MBartForQuestionAnswering,
}


@drawn(*CLASSES)
def any_mbart(rng, head):
    labels = {"num_labels": 2 if head == "span" else rng.choice([2, 3, 5])}
    return CLASSES[head](hf.MBartConfig(**sizes(rng), **tied(rng), **labels))
