"""Random Marian models."""

import transformers as hf

from tests.convert.families.drawn.bart import sizes
from tests.convert.families.models import drawn

CLASSES = {"seq2seq": hf.MarianMTModel, "hidden": hf.MarianModel}


@drawn(*CLASSES)
def any_marian(rng, head):
    base = sizes(rng)
    shared = rng.random() < 0.6
    config = hf.MarianConfig(
        **base,
        share_encoder_decoder_embeddings=shared,
        decoder_vocab_size=base["vocab_size"] if shared else rng.randrange(140, 190),
    )
    return CLASSES[head](config)
