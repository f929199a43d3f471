"""Random Blenderbot models."""

import transformers as hf

from tests.convert.families.drawn.bart import sizes, tied
from tests.convert.families.models import drawn

CLASSES = {"seq2seq": hf.BlenderbotForConditionalGeneration, "hidden": hf.BlenderbotModel}


@drawn(*CLASSES)
def any_blenderbot(rng, head):
    return CLASSES[head](hf.BlenderbotConfig(**sizes(rng), **tied(rng)))
