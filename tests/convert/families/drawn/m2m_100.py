"""Random M2M-100 models."""

import transformers as hf

from tests.convert.families.drawn.bart import sizes, tied
from tests.convert.families.models import drawn

CLASSES = {"seq2seq": hf.M2M100ForConditionalGeneration, "hidden": hf.M2M100Model}


@drawn(*CLASSES)
def any_m2m_100(rng, head):
    return CLASSES[head](hf.M2M100Config(**sizes(rng), **tied(rng)))
