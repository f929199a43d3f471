"""Random DeBERTa models of versions 2 and 3."""

import transformers as hf

from tests.convert.families.drawn import bert
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.DebertaV2ForMaskedLM, "hidden": hf.DebertaV2Model,
    "sequence": hf.DebertaV2ForSequenceClassification, "token": hf.DebertaV2ForTokenClassification,
    "span": hf.DebertaV2ForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_deberta(rng, head):
    base = bert.sizes(rng) | ({"num_labels": 2} if head == "span" else {})
    del base["attn_implementation"]
    if rng.random() < 0.3:
        base["embedding_size"] = rng.randrange(6, 20)
    config = hf.DebertaV2Config(
        **base | {"type_vocab_size": rng.choice([0, 0, 1, 2])},
        relative_attention=True,
        position_biased_input=rng.random() < 0.3,
        position_buckets=rng.choice([4, 6, 8]),
        max_relative_positions=rng.choice([-1, 16]),
        pos_att_type=rng.choice([["p2c", "c2p"], ["c2p"], ["p2c"]]),
        share_att_key=rng.random() < 0.6,
        norm_rel_ebd=rng.choice(["none", "layer_norm"]),
        pooler_hidden_act=rng.choice(["gelu", "tanh"]),
        tie_word_embeddings=rng.random() < 0.7,
    )
    return CLASSES[head](config)
