"""Random GPT-NeoX models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.drawn.phi import partly
from tests.convert.families.models import drawn

CLASSES = classes("gpt_neox", "GPTNeoX")


@drawn(*CLASSES)
def any_gpt_neox(rng, head):
    base = sizes(rng)
    base.pop("num_key_value_heads")
    config = hf.GPTNeoXConfig(
        **base,
        **partly(rng, base["hidden_size"] // base["num_attention_heads"]),
        use_parallel_residual=rng.random() < 0.6,
        attention_bias=rng.random() < 0.7,
        hidden_act=rng.choice(["gelu", "gelu_new", "relu"]),
        layer_norm_eps=rng.choice([1e-5, 1e-3]),
        hidden_dropout=0.1,
        attention_dropout=0.1,
        num_labels=rng.choice([2, 3]) if head != "span" else 2,
    )
    return CLASSES[head](config)
