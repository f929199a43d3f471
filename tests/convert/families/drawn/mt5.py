"""Random mT5 models."""

import transformers as hf

from tests.convert.families.drawn.t5 import sizes
from tests.convert.families.models import drawn

CLASSES = {"seq2seq": hf.MT5ForConditionalGeneration, "hidden": hf.MT5Model, "encoder": hf.MT5EncoderModel}


@drawn(*CLASSES)
def any_mt5(rng, head):
    return CLASSES[head](hf.MT5Config(**sizes(rng)))
