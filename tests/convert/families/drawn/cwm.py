"""Random CWM models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("cwm", "Cwm", "causal", "hidden")


@drawn(*CLASSES)
def any_cwm(rng, head):
    base = {**sizes(rng), "num_hidden_layers": rng.randrange(2, 7), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.CwmConfig(
        **base,
        **rope(rng, base["head_dim"]),
        sliding_window=rng.choice([3, 5]),
        layer_types=rng.choice([None, layer_types(rng, base["num_hidden_layers"])]),
        mlp_bias=rng.random() < 0.4,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        bos_token_id=1,
        eos_token_id=2,
    )
    return CLASSES[head](config)
