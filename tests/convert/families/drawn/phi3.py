"""Random Phi-3 models."""

import transformers as hf

from tests.convert.families.decoders import classes
from tests.convert.families.drawn.llama import sizes
from tests.convert.families.models import drawn

CLASSES = classes("phi3", "Phi3", "causal", "hidden", "sequence", "token")


@drawn(*CLASSES)
def any_phi3(rng, head):
    base = sizes(rng)
    width = base["hidden_size"] // base["num_attention_heads"]
    share = rng.choice([each for each in (0.5, 0.75, 1.0) if int(width * each) % 2 == 0])
    rotation = {"rope_type": "default", "rope_theta": rng.choice([1e3, 1e4])}
    if rng.random() < 0.6:
        rotation |= {
            "rope_type": "longrope",
            "short_factor": [1.0 + 0.1 * i for i in range(int(width * share) // 2)],
            "long_factor": [2.0 + 0.3 * i for i in range(int(width * share) // 2)],
        }
    config = hf.Phi3Config(
        **base,
        rope_parameters={**rotation, "partial_rotary_factor": share},
        max_position_embeddings=64,
        original_max_position_embeddings=rng.choice([3, 16]),
        sliding_window=rng.choice([None, 3, 5]),
        rms_norm_eps=rng.choice([1e-6, 1e-3]),
        resid_pdrop=0.1,
        num_labels=3,
        bos_token_id=1,
        eos_token_id=2,
    )
    return CLASSES[head](config)
