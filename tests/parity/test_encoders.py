"""An encoder and an encoder-decoder against Hugging Face."""

import pytest
import torch
import transformers

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import batch, mapped, perturbed

HEADS = {"kind": "multi_head", "n_heads": 4, "bias": True, "mask": "full"}
NORM = {"kind": "layer_norm", "eps": 1e-12}


def built(theirs, data, rules):
    spec = Spec.model_validate(Node.of(data).plain())
    return to_torch(spec, mapped(to_torch(spec), perturbed(theirs).state_dict(), rules)).eval()


def bert_with_a_classifier():
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
        max_position_embeddings=64, num_labels=3, attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.BertForSequenceClassification(config)
    layer = {
        "kind": "transformer_layer", "norm": NORM, "norm_placement": "post", "attention": HEADS,
        "feed_forward": {"kind": "mlp", "d_ff": 80, "bias": True},
    }  # fmt: skip
    embed = {
        "kind": "embedding", "from": {"tokens": "input_ids", "token_types": "token_type_ids"}, "vocab_size": 97,
        "d_model": 48, "position": {"kind": "learned", "max_len": 64, "ids": "slot"}, "token_types": 2, "norm": NORM,
    }  # fmt: skip
    data = {
        "flexit": 1, "name": "bert", "inputs": {"input_ids": "tokens", "token_type_ids": "tokens"},
        "blocks": {
            "embed": embed,
            "encoder": {"kind": "stack", "n_layers": 3, "layer": layer},
            "pooled": {"kind": "pool", "method": "first", "dense": {"bias": True}},
            "head": {"kind": "sequence_classifier", "n_labels": 3},
        },
        "outputs": {"logits": "head", "hidden": "encoder"},
    }  # fmt: skip
    at = r"encoder\.layers\.(\d+)\."
    theirs_at = r"bert.encoder.layer.\1."
    rules = [
        (r"embed\.tokens\.(\w+)", r"bert.embeddings.word_embeddings.\1", None),
        (r"embed\.positions\.(\w+)", r"bert.embeddings.position_embeddings.\1", None),
        (r"embed\.token_types\.(\w+)", r"bert.embeddings.token_type_embeddings.\1", None),
        (r"embed\.norm\.(\w+)", r"bert.embeddings.LayerNorm.\1", None),
        (at + r"attention\.q_proj\.(\w+)", theirs_at + r"attention.self.query.\2", None),
        (at + r"attention\.k_proj\.(\w+)", theirs_at + r"attention.self.key.\2", None),
        (at + r"attention\.v_proj\.(\w+)", theirs_at + r"attention.self.value.\2", None),
        (at + r"attention\.o_proj\.(\w+)", theirs_at + r"attention.output.dense.\2", None),
        (at + r"attention_residual_norm\.(\w+)", theirs_at + r"attention.output.LayerNorm.\2", None),
        (at + r"feed_forward\.up_proj\.(\w+)", theirs_at + r"intermediate.dense.\2", None),
        (at + r"feed_forward\.down_proj\.(\w+)", theirs_at + r"output.dense.\2", None),
        (at + r"feed_forward_residual_norm\.(\w+)", theirs_at + r"output.LayerNorm.\2", None),
        (r"pooled\.dense\.(\w+)", r"bert.pooler.dense.\1", None),
        (r"head\.out\.(\w+)", r"classifier.\1", None),
    ]
    return theirs, built(theirs, data, rules)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_bert_with_a_classifier(padding):
    theirs, ours = bert_with_a_classifier()
    ids, mask = batch(padding)
    types = (ids % 2).to(torch.int64)
    with torch.no_grad():
        hidden = theirs.bert(ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        logits = theirs(ids, attention_mask=mask, token_type_ids=types).logits
        found = ours(input_ids=ids, attention_mask=mask, token_type_ids=types)
    assert relative_error(found["hidden"].numpy(), hidden.numpy(), mask.bool().numpy()) < 1e-5
    if padding != "left":  # the reference pools slot 0, which is a pad there; ours the first token
        assert relative_error(found["logits"].numpy(), logits.numpy()) < 1e-5


def t5_rules():
    """Our names -> theirs."""
    at, there = r"(encoder|decoder)\.layers\.(\d+)\.", r"\1.block.\2.layer."
    bias = r"\1.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    rules = [
        (r"source\.tokens\.weight", "shared.weight", None),
        (r"(encoder|decoder)\.score_bias\.weight", bias, None),
        (r"(encoder|decoder)\.final_norm\.weight", r"\1.final_layer_norm.weight", None),
        (at + r"attention\.(\w)_proj\.weight", there + r"0.SelfAttention.\3.weight", None),
        (at + r"attention_input_norm\.weight", there + r"0.layer_norm.weight", None),
        (at + r"cross_attention\.(\w)_proj\.weight", there + r"1.EncDecAttention.\3.weight", None),
        (at + r"cross_attention_input_norm\.weight", there + r"1.layer_norm.weight", None),
    ]
    for side, place in (("encoder", 1), ("decoder", 2)):
        at, there = rf"{side}\.layers\.(\d+)\.feed_forward", rf"{side}.block.\1.layer.{place}."
        rules += [
            (at + r"\.up_proj\.weight", there + "DenseReluDense.wi.weight", None),
            (at + r"\.down_proj\.weight", there + "DenseReluDense.wo.weight", None),
            (at + r"_input_norm\.weight", there + "layer_norm.weight", None),
        ]
    return rules


T5_RULES = t5_rules()


def t5():
    """A random T5 of theirs and ours on its weights."""
    config = transformers.T5Config(
        vocab_size=97, d_model=48, d_kv=10, d_ff=80, num_layers=2, num_decoder_layers=2, num_heads=4, dropout_rate=0.0,
        relative_attention_num_buckets=8, relative_attention_max_distance=20, tie_word_embeddings=True,
    )  # fmt: skip
    theirs = transformers.T5ForConditionalGeneration(config)
    heads = {"kind": "multi_head", "n_heads": 4, "head_dim": 10, "scores": {"scale": 1.0}}
    common = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre",
        "feed_forward": {"kind": "mlp", "d_ff": 80, "activation": "relu"},
    }  # fmt: skip
    bias = {"kind": "t5", "n_buckets": 8, "max_distance": 20}
    stack = {"kind": "stack", "n_layers": 2, "score_bias": bias, "final_norm": True}
    data = {
        "flexit": 1, "name": "t5", "inputs": {"input_ids": "tokens", "decoder_input_ids": "tokens"},
        "blocks": {
            "source": {"kind": "embedding", "from": "input_ids", "vocab_size": 97, "d_model": 48},
            "encoder": {**stack, "layer": {**common, "attention": {**heads, "mask": "full"}}},
            "target": {"kind": "embedding", "from": "decoder_input_ids", "tied_to": "source"},
            "decoder": {
                **stack, "from": {"x": "target", "memory": "encoder"},
                "layer": {**common, "attention": {**heads, "mask": "causal"}, "cross_attention": heads},
            },
            "head": {"kind": "lm_head", "tied_to": "source", "input_multiplier": "rsqrt_d_model"},
        },
    }  # fmt: skip
    return theirs, built(theirs, data, T5_RULES)


@pytest.mark.parametrize("padding", ["none", "right"])
def test_t5(padding):
    theirs, ours = t5()
    ids, mask = batch(padding)
    target = ids.flip(1)[:, :7]
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits
        found = ours(input_ids=ids, attention_mask=mask, decoder_input_ids=target)["logits"]
    assert relative_error(found.numpy(), expected.numpy()) < 1e-5
