"""Random OLMo 3 models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("olmo3", "Olmo3", "causal", "hidden", "sequence")


@drawn(*CLASSES)
def any_olmo3(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 7)}
    found = rope(rng, base["hidden_size"] // base["num_attention_heads"])
    rotation = found.pop("rope_parameters")
    if rotation["rope_type"] in ("dynamic", "longrope"):  # theirs changes with the longest row of a batch
        rotation = {"rope_type": "default", "rope_theta": 1e4}
    config = hf.Olmo3Config(
        **base,
        **found,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": rng.choice([1e4, 5e5])},
            "full_attention": rotation,
        },
        attention_bias=rng.random() < 0.5,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        sliding_window=rng.choice([3, 5]),
        layer_types=rng.choice([None, layer_types(rng, base["num_hidden_layers"])]),
        num_labels=3,
        eos_token_id=2,
    )
    return CLASSES[head](config)
