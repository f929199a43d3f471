"""Random RoBERTa models."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.RobertaForMaskedLM, "hidden": hf.RobertaModel, "sequence": hf.RobertaForSequenceClassification,
    "token": hf.RobertaForTokenClassification, "span": hf.RobertaForQuestionAnswering,
}  # fmt: skip


def sizes(rng, head):
    """Configurations of what extends RoBERTa."""
    base = bert.sizes(rng)
    return base | {
        "type_vocab_size": rng.choice([1, 1, 2]),
        "pad_token_id": rng.choice([0, 1, 3]),
        "tie_word_embeddings": rng.random() < 0.7,
        "num_labels": 2 if head == "span" else base["num_labels"],
    }


@drawn(*CLASSES)
def any_roberta(rng, head):
    return CLASSES[head](hf.RobertaConfig(**sizes(rng, head)))
