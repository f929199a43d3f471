"""Random Nomic BERT models."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.NomicBertForMaskedLM,
    "hidden": hf.NomicBertModel,
    "sequence": hf.NomicBertForSequenceClassification,
    "token": hf.NomicBertForTokenClassification,
}


@drawn(*CLASSES)
def any_nomic_bert(rng, head):
    base = bert.sizes(rng)
    if rng.random() < 0.4:
        base["head_dim"] = 2 * rng.randrange(2, 6)
    theta = rng.choice([1000.0, 10000.0])
    config = hf.NomicBertConfig(**base, rope_parameters={"rope_type": "default", "rope_theta": theta})
    return CLASSES[head](config)
