"""Random models of Jina Embeddings v3."""

import transformers as hf

from tests.convert.families.drawn import roberta
from tests.convert.families.drawn.llama import rope
from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.JinaEmbeddingsV3ForMaskedLM, "hidden": hf.JinaEmbeddingsV3Model,
    "sequence": hf.JinaEmbeddingsV3ForSequenceClassification, "token": hf.JinaEmbeddingsV3ForTokenClassification,
    "span": hf.JinaEmbeddingsV3ForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_jina(rng, head):
    base = roberta.sizes(rng, head)
    turned = rope(rng, base["hidden_size"] // base["num_attention_heads"], longest=base["max_position_embeddings"])
    return CLASSES[head](hf.JinaEmbeddingsV3Config(**base | turned))
