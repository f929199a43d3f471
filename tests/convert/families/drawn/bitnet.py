"""Random BitNet models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("bitnet", "BitNet", "causal", "hidden")


@drawn(*CLASSES)
def any_bitnet(rng, head):
    base = sizes(rng)
    config = hf.BitNetConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        hidden_act=rng.choice(["relu2", "silu"]),
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        bos_token_id=1,
        eos_token_id=2,
    )
    return CLASSES[head](config)
