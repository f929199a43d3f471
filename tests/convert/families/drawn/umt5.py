"""Random UMT5 models."""

import transformers as hf

from tests.convert.families.comparing import READ_AT_THE_END
from tests.convert.families.drawn.t5 import sizes
from tests.convert.families.models import drawn

READ_AT_THE_END.add(hf.UMT5ForSequenceClassification)
CLASSES = {
    "seq2seq": hf.UMT5ForConditionalGeneration, "hidden": hf.UMT5Model, "encoder": hf.UMT5EncoderModel,
    "sequence": hf.UMT5ForSequenceClassification, "token": hf.UMT5ForTokenClassification,
    "span": hf.UMT5ForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_umt5(rng, head):
    return CLASSES[head](hf.UMT5Config(**sizes(rng, head)))
