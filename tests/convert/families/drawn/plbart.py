"""Random PLBART models."""

import transformers as hf

from tests.convert.families.comparing import READ_AT_THE_END
from tests.convert.families.drawn.bart import sizes, tied
from tests.convert.families.models import drawn

READ_AT_THE_END.add(hf.PLBartForSequenceClassification)
CLASSES = {
    "seq2seq": hf.PLBartForConditionalGeneration,
    "hidden": hf.PLBartModel,
    "sequence": hf.PLBartForSequenceClassification,
}


@drawn(*CLASSES)
def any_plbart(rng, head):
    labels = {"num_labels": rng.choice([2, 3, 5])}
    return CLASSES[head](hf.PLBartConfig(**sizes(rng), **tied(rng), **labels))
