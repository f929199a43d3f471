"""Random ModernBERT models."""

import transformers as hf

from tests.convert.families.models import drawn

CLASSES = {
    "masked": hf.ModernBertForMaskedLM, "hidden": hf.ModernBertModel,
    "sequence": hf.ModernBertForSequenceClassification, "token": hf.ModernBertForTokenClassification,
    "span": hf.ModernBertForQuestionAnswering,
}  # fmt: skip


@drawn(*CLASSES)
def any_modernbert(rng, head):
    heads, layers = rng.choice([1, 2, 3]), rng.randrange(2, 6)
    kinds = [rng.choice(["sliding_attention", "full_attention"]) for _ in range(layers)]
    config = hf.ModernBertConfig(
        vocab_size=rng.randrange(50, 140),
        hidden_size=heads * 2 * rng.randrange(2, 6),
        intermediate_size=rng.randrange(20, 60),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_activation=rng.choice(["gelu", "silu"]),
        norm_eps=rng.choice([1e-5, 1e-3]),
        norm_bias=rng.random() < 0.4,
        attention_bias=rng.random() < 0.4,
        mlp_bias=rng.random() < 0.4,
        decoder_bias=rng.random() < 0.7,
        classifier_bias=rng.random() < 0.4,
        classifier_activation=rng.choice(["gelu", "relu"]),
        classifier_pooling=rng.choice(["cls", "mean"]),
        local_attention=rng.choice([4, 6, 7]),
        layer_types=rng.choice([None, kinds]),
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": rng.choice([160000.0, 1000.0])},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        tie_word_embeddings=rng.random() < 0.7,
        pad_token_id=rng.choice([0, 3]),
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
        num_labels=2 if head == "span" else rng.choice([2, 3, 5]),
        attn_implementation="eager",
    )
    return CLASSES[head](config)
