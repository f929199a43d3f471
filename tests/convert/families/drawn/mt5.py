"""Random mT5 models."""

import transformers as hf

from tests.convert.families.comparing import READ_AT_THE_END
from tests.convert.families.drawn.t5 import sizes
from tests.convert.families.models import drawn

READ_AT_THE_END.add(hf.MT5ForSequenceClassification)
CLASSES = {
    "seq2seq": hf.MT5ForConditionalGeneration, "hidden": hf.MT5Model, "encoder": hf.MT5EncoderModel,
    "sequence": hf.MT5ForSequenceClassification, "token": hf.MT5ForTokenClassification,
    "span": hf.MT5ForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_mt5(rng, head):
    return CLASSES[head](hf.MT5Config(**sizes(rng, head)))
