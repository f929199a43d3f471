"""Random Pegasus models."""

import transformers as hf

from tests.convert.families.drawn.bart import sizes, tied
from tests.convert.families.models import drawn

CLASSES = {"seq2seq": hf.PegasusForConditionalGeneration, "hidden": hf.PegasusModel}


@drawn(*CLASSES)
def any_pegasus(rng, head):
    return CLASSES[head](hf.PegasusConfig(**sizes(rng), **tied(rng)))
