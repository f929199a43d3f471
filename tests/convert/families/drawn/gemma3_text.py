"""Random Gemma 3 text models."""

import transformers as hf

from tests.convert.families.comparing import DECODERS
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.models import drawn

DECODERS.add("gemma3_text")
CLASSES = {
    "causal": hf.Gemma3ForCausalLM, "hidden": hf.Gemma3TextModel, "sequence": hf.Gemma3TextForSequenceClassification,
}  # fmt: skip
SCALINGS = [{"rope_type": "default"}, {"rope_type": "linear", "factor": 8.0}]


@drawn(*CLASSES)
def any_gemma3(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 9), "tie_word_embeddings": True}
    config = hf.Gemma3TextConfig(
        **base,
        head_dim=2 * rng.randrange(2, 6),
        query_pre_attn_scalar=rng.choice([24, 256]),
        sliding_window=rng.choice([3, 5]),
        layer_types=[rng.choice(["sliding_attention", "full_attention"]) for _ in range(base["num_hidden_layers"])],
        final_logit_softcapping=rng.choice([None, 30.0]),
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_theta": 1e6, **rng.choice(SCALINGS)},
        },
        num_labels=3,
    )
    return CLASSES[head](config)


@drawn("hidden", "sequence")
def embedding_gemma(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 5), "tie_word_embeddings": True}
    config = hf.Gemma3TextConfig(
        **base,
        head_dim=2 * rng.randrange(2, 6),
        query_pre_attn_scalar=24,
        use_bidirectional_attention=True,
        sliding_window=rng.choice([4, 6, 8]),
        layer_types=[rng.choice(["sliding_attention", "full_attention"]) for _ in range(base["num_hidden_layers"])],
        num_labels=3,
    )
    return CLASSES[head](config)
