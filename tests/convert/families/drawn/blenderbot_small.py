"""Random small Blenderbot models."""

import transformers as hf

from tests.convert.families.drawn.bart import sizes, tied
from tests.convert.families.models import drawn

CLASSES = {"seq2seq": hf.BlenderbotSmallForConditionalGeneration, "hidden": hf.BlenderbotSmallModel}


@drawn(*CLASSES)
def any_blenderbot_small(rng, head):
    return CLASSES[head](hf.BlenderbotSmallConfig(**sizes(rng), **tied(rng)))
