"""Random OLMoE models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("olmoe", "Olmoe", "causal", "hidden")


@drawn(*CLASSES)
def any_olmoe(rng, head):
    base = sizes(rng)
    count, chosen = experts(rng)
    config = hf.OlmoeConfig(
        **base,
        **rope(rng, base["hidden_size"] // base["num_attention_heads"]),
        attention_bias=rng.random() < 0.5,
        num_experts=count,
        num_experts_per_tok=chosen,
        norm_topk_prob=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        experts_implementation="eager",
        eos_token_id=2,
    )
    return CLASSES[head](config)
