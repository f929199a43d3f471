"""Random Phi models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = classes("phi", "Phi", "causal", "hidden", "sequence", "token")


def partly(rng, width, shares=(0.25, 0.4, 0.5, 0.75, 1.0)):
    """Rope parameters that turn a share of the channels, or all of them."""
    fitting = [share for share in shares if int(width * share) >= 2 and int(width * share) % 2 == 0]
    share = rng.choice(fitting)
    found = rope(rng, int(width * share))
    found["rope_parameters"]["partial_rotary_factor"] = share
    return found


@drawn(*CLASSES)
def any_phi(rng, head):
    base = sizes(rng)
    config = hf.PhiConfig(
        **base,
        **partly(rng, base["hidden_size"] // base["num_attention_heads"]),
        qk_layernorm=rng.random() < 0.5,
        hidden_act=rng.choice(["gelu_new", "gelu", "relu"]),
        layer_norm_eps=rng.choice([1e-5, 1e-3]),
        resid_pdrop=0.1,
        embd_pdrop=0.1,
        num_labels=3,
    )
    return CLASSES[head](config)
