"""Random T5 models."""

import transformers as hf

from tests.convert.families.comparing import READ_AT_THE_END
from tests.convert.families.models import drawn

READ_AT_THE_END.add(hf.T5ForSequenceClassification)
CLASSES = {
    "seq2seq": hf.T5ForConditionalGeneration, "hidden": hf.T5Model, "encoder": hf.T5EncoderModel,
    "sequence": hf.T5ForSequenceClassification, "token": hf.T5ForTokenClassification,
    "span": hf.T5ForQuestionAnswering,
}  # fmt: skip


def sizes(rng, head):
    """What the configurations of T5's kin have."""
    buckets, reach = rng.choice([(8, 10), (32, 128)])
    return {
        "vocab_size": rng.randrange(50, 140),
        "d_model": rng.randrange(16, 40),
        "d_kv": rng.randrange(4, 12),
        "d_ff": rng.randrange(20, 60),
        "num_layers": rng.randrange(2, 4),
        "num_decoder_layers": rng.choice([None, 2, 3]),
        "num_heads": rng.choice([2, 3]),
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": reach,
        "layer_norm_epsilon": rng.choice([1e-6, 1e-3]),
        "feed_forward_proj": rng.choice(["relu", "gated-gelu", "gated-silu"]),
        "pad_token_id": 0,
        "num_labels": 2 if head == "span" else rng.choice([2, 3, 5]),
    }


@drawn(*CLASSES)
def any_t5(rng, head):
    return CLASSES[head](hf.T5Config(**sizes(rng, head), tie_word_embeddings=rng.random() < 0.5))
