"""Random UMT5 models."""

import transformers as hf

from tests.convert.families.drawn.t5 import sizes
from tests.convert.families.models import drawn

CLASSES = {"seq2seq": hf.UMT5ForConditionalGeneration, "hidden": hf.UMT5Model, "encoder": hf.UMT5EncoderModel}


@drawn(*CLASSES)
def any_umt5(rng, head):
    return CLASSES[head](hf.UMT5Config(**sizes(rng)))
