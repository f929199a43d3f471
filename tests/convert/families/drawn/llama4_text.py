"""Random Llama 4 text models."""

import transformers as hf

from tests.convert.families.comparing import COUNTS_PADS, DECODERS
from tests.convert.families.decoders import experts, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

DECODERS.add("llama4_text")
COUNTS_PADS.add("llama4_text")
CLASSES = {"causal": hf.Llama4ForCausalLM, "hidden": hf.Llama4TextModel}


@drawn(*CLASSES)
def any_llama4(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 6), "head_dim": 2 * rng.randrange(2, 6)}
    layers = base["num_hidden_layers"]
    count, chosen = experts(rng)
    config = hf.Llama4TextConfig(
        **base,
        **rope(rng, base["head_dim"]),
        intermediate_size_mlp=rng.randrange(20, 40),
        num_local_experts=count,
        num_experts_per_tok=chosen,
        interleave_moe_layer_step=rng.choice([1, 2]),
        moe_layers=rng.choice([None, [layers - 1]]),
        use_qk_norm=rng.random() < 0.6,
        no_rope_layers=rng.choice([None, layer_types(rng, layers, 0, 1)]),
        no_rope_layer_interval=rng.choice([2, 4]),
        attention_chunk_size=rng.choice([4, 6]),
        attn_temperature_tuning=rng.random() < 0.6,
        floor_scale=rng.choice([3, 8192]),
        attn_scale=rng.choice([0.1, 0.4]),
        attention_bias=rng.random() < 0.4,
        experts_implementation="eager",
    )
    return CLASSES[head](config)
