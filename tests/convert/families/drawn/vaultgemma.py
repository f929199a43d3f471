"""Random VaultGemma models."""

import transformers as hf

from tests.convert.families.decoders import classes, layer_types
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("vaultgemma", "VaultGemma", "causal", "hidden")


@drawn(*CLASSES)
def any_vaultgemma(rng, head):
    base = {**sizes(rng), "head_dim": 2 * rng.randrange(2, 6)}
    config = hf.VaultGemmaConfig(
        **base,
        **rope(rng, base["head_dim"]),
        attention_bias=rng.random() < 0.5,
        query_pre_attn_scalar=rng.choice([24, 256]),
        sliding_window=rng.choice([3, 5]),
        layer_types=rng.choice([None, layer_types(rng, base["num_hidden_layers"])]),
        attn_logit_softcapping=rng.choice([None, 2.0, 50.0]),
        final_logit_softcapping=rng.choice([None, 3.0, 30.0]),
    )
    return CLASSES[head](config)
