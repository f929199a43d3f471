"""What the drawn modules of decoders share."""

import transformers as hf

from tests.convert.families.comparing import DECODERS

ENDINGS = {
    "causal": "ForCausalLM", "hidden": "Model", "sequence": "ForSequenceClassification",
    "token": "ForTokenClassification", "span": "ForQuestionAnswering",
}  # fmt: skip
"""Heads of mapping files and how ``transformers`` ends the names of their classes."""


def classes(model_type, start, *heads):
    """The classes of a family that reads from left to right, by head: all five, or some."""
    DECODERS.add(model_type)
    return {head: getattr(hf, start + ENDINGS[head]) for head in heads or ENDINGS}


def layer_types(rng, count, *kinds):
    """A kind for every layer, windows and full attention unless others are named."""
    return [rng.choice(kinds or ("sliding_attention", "full_attention")) for _ in range(count)]


def experts(rng):
    """How many there are, and how many a token is sent to."""
    count = rng.randrange(2, 6)
    return count, rng.randrange(1, count + 1)
