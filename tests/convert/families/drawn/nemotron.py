"""Random Nemotron models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.drawn.phi import partly
from tests.convert.families.models import drawn

CLASSES = classes("nemotron", "Nemotron")


@drawn(*CLASSES)
def any_nemotron(rng, head):
    base = {**sizes(rng), "head_dim": rng.choice([None, 6, 8])}
    config = hf.NemotronConfig(
        **base,
        **partly(rng, base["head_dim"] or base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        mlp_bias=rng.random() < 0.5,
        hidden_act=rng.choice(["relu2", "gelu"]),
        norm_eps=rng.choice([1e-5, 1e-3]),
        num_labels=3,
    )
    return CLASSES[head](config)
