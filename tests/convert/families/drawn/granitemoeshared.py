"""Random Granite MoE models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("granitemoeshared", "GraniteMoeShared", "causal", "hidden")


@drawn(*CLASSES)
def any_granitemoeshared(rng, head):
    base = sizes(rng)
    count, chosen = experts(rng)
    config = hf.GraniteMoeSharedConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        shared_intermediate_size=rng.choice([0, 17]),
        attention_bias=rng.random() < 0.5,
        num_local_experts=count,
        num_experts_per_tok=chosen,
        embedding_multiplier=rng.choice([1.0, 12.0]),
        logits_scaling=rng.choice([1.0, 8.0]),
        residual_multiplier=rng.choice([1.0, 0.22]),
        attention_multiplier=rng.choice([1.0, 0.3]),
        experts_implementation="eager",
    )
    return CLASSES[head](config)
