"""Random gpt-oss models."""

import transformers as hf

from tests.convert.families.decoders import classes, experts, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("gpt_oss", "GptOss", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_gpt_oss(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 6), "head_dim": 2 * rng.randrange(2, 6)}
    count, chosen = experts(rng)
    config = hf.GptOssConfig(
        **base,
        **rope(rng, base["head_dim"]),
        attention_bias=rng.random() < 0.8,
        num_local_experts=count,
        num_experts_per_tok=chosen,
        swiglu_limit=rng.choice([0.5, 7.0]),
        sliding_window=rng.choice([3, 5]),
        layer_types=rng.choice([None, layer_types(rng, base["num_hidden_layers"])]),
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        experts_implementation="eager",
        num_labels=3,
    )
    return CLASSES[head](config)
