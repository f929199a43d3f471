"""Random EuroBERT models."""

import transformers as hf

from tests.convert.families.drawn.llama import rope, sizes
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.EuroBertForMaskedLM,
    "hidden": hf.EuroBertModel,
    "sequence": hf.EuroBertForSequenceClassification,
    "token": hf.EuroBertForTokenClassification,
}


@drawn(*CLASSES)
def any_eurobert(rng, head):
    base = sizes(rng)
    width = base["hidden_size"] // base["num_attention_heads"]
    if rng.random() < 0.4:
        width = 2 * rng.randrange(2, 6)
        base["head_dim"] = width
    config = hf.EuroBertConfig(
        **base,
        **rope(rng, width),
        attention_bias=rng.random() < 0.4,
        mlp_bias=rng.random() < 0.4,
        rms_norm_eps=rng.choice([1e-5, 1e-3]),
        classifier_pooling=rng.choice(["bos", "mean", "late"]),
        bos_token_id=1,
        eos_token_id=2,
        mask_token_id=4,
        num_labels=rng.choice([2, 3, 5]),
    )
    return CLASSES[head](config)
