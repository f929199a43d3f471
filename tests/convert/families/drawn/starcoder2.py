"""Random StarCoder2 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("starcoder2", "Starcoder2", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_starcoder2(rng, head):
    base = sizes(rng)
    config = hf.Starcoder2Config(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        sliding_window=rng.choice([None, 3, 5]),
        use_bias=rng.random() < 0.6,
        hidden_act=rng.choice(["gelu_pytorch_tanh", "gelu"]),
        norm_epsilon=rng.choice([1e-5, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
