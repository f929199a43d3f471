"""Random CodeGen models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.gptj import gpt_sizes
from tests.convert.families.models import drawn

CLASSES = classes("codegen", "CodeGen", "causal", "hidden")


@drawn(*CLASSES)
def any_codegen(rng, head):
    config = hf.CodeGenConfig(**gpt_sizes(rng, multiple=4))
    return CLASSES[head](config)
