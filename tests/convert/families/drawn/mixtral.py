"""Random Mixtral models."""

import transformers as hf

from tests.convert.families.comparing import DECODERS
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

DECODERS.add("mixtral")
CLASSES = {
    "causal": hf.MixtralForCausalLM, "hidden": hf.MixtralModel, "sequence": hf.MixtralForSequenceClassification,
    "token": hf.MixtralForTokenClassification, "span": hf.MixtralForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_mixtral(rng, head):
    base = sizes(rng)
    base["head_dim"] = base["hidden_size"] // base["num_attention_heads"]
    experts = rng.randrange(2, 6)
    config = hf.MixtralConfig(
        **base,
        **rope(rng, base["head_dim"]),
        num_local_experts=experts,
        experts_implementation="eager",
        num_experts_per_tok=rng.randrange(1, experts + 1),
        sliding_window=rng.choice([None, 3, 5]),
        rms_norm_eps=rng.choice([1e-6, 1e-5]),
        num_labels=3,
    )
    return CLASSES[head](config)
