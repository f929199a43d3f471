"""Heads and factorised tables against Hugging Face: tiny random models, weights mapped here, padded and not."""

import pytest
import torch
import transformers

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.parity.test_decoders import COMMON, LLAMA_RULES, RMS, VOCAB, WIDTH, attention, batch, mapped, perturbed
from tests.parity.test_decoders import spec_of as decoder

INNER, FF, MASK_ID = 20, 80, 7
NORM = {"kind": "layer_norm", "eps": 1e-3}
BERT_LIKE = {
    "vocab_size": VOCAB, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": FF, "max_position_embeddings": 64, "layer_norm_eps": 1e-3, "attn_implementation": "eager",
}  # fmt: skip


def encoder(head, *, embed=None, layer=None, **stack):
    """BERT's layers under a head, on one input."""
    table = {
        "kind": "embedding", "vocab_size": VOCAB, "d_model": WIDTH, "norm": NORM, "token_types": 1,
        "position": {"kind": "learned", "max_len": 64, "ids": "slot"}, **(embed or {}),
    }  # fmt: skip
    body = {
        "kind": "transformer_layer", "norm": NORM, "norm_placement": "post",
        "attention": {"kind": "multi_head", "n_heads": 4, "bias": True, "mask": "full"},
        "feed_forward": {"kind": "mlp", "d_ff": FF, "bias": True}, **(layer or {}),
    }  # fmt: skip
    blocks = {"embed": table, "encoder": {"kind": "stack", "n_layers": 2, "layer": body, **stack}, "head": head}
    return Spec.model_validate(Node.of({"flexit": 1, "name": "parity", "blocks": blocks}).plain())


def bert_rules(prefix, *more, embeddings="embeddings"):
    """Of the embeddings and the layers; a segment table of two rows is read at its first alone."""
    at, theirs = r"encoder\.layers\.(\d+)\.", rf"{prefix}.encoder.layer.\1."
    first = lambda table: table[:1]  # noqa: E731
    return [
        (r"embed\.tokens\.weight", f"{prefix}.{embeddings}.word_embeddings.weight", None),
        (r"embed\.positions\.weight", f"{prefix}.{embeddings}.position_embeddings.weight", None),
        (r"embed\.token_types\.weight", f"{prefix}.{embeddings}.token_type_embeddings.weight", first),
        (r"embed\.norm\.(\w+)", rf"{prefix}.{embeddings}.LayerNorm.\1", None),
        (at + r"attention\.q_proj\.(\w+)", theirs + r"attention.self.query.\2", None),
        (at + r"attention\.k_proj\.(\w+)", theirs + r"attention.self.key.\2", None),
        (at + r"attention\.v_proj\.(\w+)", theirs + r"attention.self.value.\2", None),
        (at + r"attention\.o_proj\.(\w+)", theirs + r"attention.output.dense.\2", None),
        (at + r"attention_residual_norm\.(\w+)", theirs + r"attention.output.LayerNorm.\2", None),
        (at + r"feed_forward\.up_proj\.(\w+)", theirs + r"intermediate.dense.\2", None),
        (at + r"feed_forward\.down_proj\.(\w+)", theirs + r"output.dense.\2", None),
        (at + r"feed_forward_residual_norm\.(\w+)", theirs + r"output.LayerNorm.\2", None),
        *more,
    ]


def bert_mlm():
    rules = bert_rules(
        "bert",
        (r"head\.dense\.(\w+)", r"cls.predictions.transform.dense.\1", None),
        (r"head\.dense_norm\.(\w+)", r"cls.predictions.transform.LayerNorm.\1", None),
        (r"head\.bias", "cls.predictions.bias", None),
    )
    config = transformers.BertConfig(**BERT_LIKE, hidden_act="relu")
    head = {"kind": "mlm_head", "tied_to": "embed", "dense": {"activation": "relu", "norm": NORM}}
    layer = {"feed_forward": {"kind": "mlp", "d_ff": FF, "bias": True, "activation": "relu"}}
    return transformers.BertForMaskedLM(config), encoder(head, layer=layer), rules


def roberta_mlm():
    """Positions of unpadded tokens are those counted from the mask, after the pad's."""
    rules = bert_rules(
        "roberta",
        (r"head\.dense\.(\w+)", r"lm_head.dense.\1", None),
        (r"head\.dense_norm\.(\w+)", r"lm_head.layer_norm.\1", None),
        (r"head\.bias", "lm_head.bias", None),
    )
    config = transformers.RobertaConfig(**BERT_LIKE, pad_token_id=1)
    embed = {"position": {"kind": "learned", "max_len": 62, "offset": 2}}
    return (
        transformers.RobertaForMaskedLM(config),
        encoder({"kind": "mlm_head", "tied_to": "embed", "dense": {"norm": NORM}}, embed=embed),
        rules,
    )


AT_ALBERT, IN_ALBERT = r"encoder\.layers\.0\.", "albert.encoder.albert_layer_groups.0.albert_layers.0."
ALBERT_RULES = [
    (AT_ALBERT + r"attention\.q_proj\.(\w+)", IN_ALBERT + r"attention.query.\1", None),
    (AT_ALBERT + r"attention\.k_proj\.(\w+)", IN_ALBERT + r"attention.key.\1", None),
    (AT_ALBERT + r"attention\.v_proj\.(\w+)", IN_ALBERT + r"attention.value.\1", None),
    (AT_ALBERT + r"attention\.o_proj\.(\w+)", IN_ALBERT + r"attention.dense.\1", None),
    (AT_ALBERT + r"attention_residual_norm\.(\w+)", IN_ALBERT + r"attention.LayerNorm.\1", None),
    (AT_ALBERT + r"feed_forward\.up_proj\.(\w+)", IN_ALBERT + r"ffn.\1", None),
    (AT_ALBERT + r"feed_forward\.down_proj\.(\w+)", IN_ALBERT + r"ffn_output.\1", None),
    (AT_ALBERT + r"feed_forward_residual_norm\.(\w+)", IN_ALBERT + r"full_layer_layer_norm.\1", None),
    (r"embed\.projection\.(\w+)", r"albert.encoder.embedding_hidden_mapping_in.\1", None),
    *bert_rules(
        "albert",
        (r"head\.dense\.(\w+)", r"predictions.dense.\1", None),
        (r"head\.dense_norm\.(\w+)", r"predictions.LayerNorm.\1", None),
        (r"head\.bias", "predictions.bias", None),
    ),
]


def albert_mlm():
    config = transformers.AlbertConfig(**BERT_LIKE, embedding_size=INNER, hidden_act="gelu_new")
    embed = {"projection": {"dim": INNER, "bias": True}}
    layer = {"feed_forward": {"kind": "mlp", "d_ff": FF, "bias": True, "activation": "gelu_tanh"}}
    head = {"kind": "mlm_head", "tied_to": "embed", "dense": {"activation": "gelu_tanh", "norm": NORM}}
    return (
        transformers.AlbertForMaskedLM(config),
        encoder(head, embed=embed, layer=layer, share={"groups": 1}),
        ALBERT_RULES,
    )


ELECTRA = (r"embed\.projection\.(\w+)", r"electra.embeddings_project.\1", None)


def electra_generator():
    rules = bert_rules(
        "electra",
        ELECTRA,
        (r"head\.dense\.(\w+)", r"generator_predictions.dense.\1", None),
        (r"head\.dense_norm\.(\w+)", r"generator_predictions.LayerNorm.\1", None),
        (r"head\.bias", "generator_lm_head.bias", None),
    )
    config = transformers.ElectraConfig(**BERT_LIKE, embedding_size=INNER)
    head = {"kind": "mlm_head", "tied_to": "embed", "dense": {"norm": NORM}}
    return (
        transformers.ElectraForMaskedLM(config),
        encoder(head, embed={"projection": {"dim": INNER, "bias": True}}),
        rules,
    )


def electra_discriminator():
    rules = bert_rules(
        "electra",
        ELECTRA,
        (r"head\.dense\.(\w+)", r"discriminator_predictions.dense.\1", None),
        (r"head\.out\.(\w+)", r"discriminator_predictions.dense_prediction.\1", None),
    )
    config = transformers.ElectraConfig(**BERT_LIKE, embedding_size=INNER)
    head = {"kind": "token_classifier", "n_labels": 1, "dense": {"activation": "gelu", "bias": True}}
    return (
        transformers.ElectraForPreTraining(config),
        encoder(head, embed={"projection": {"dim": INNER, "bias": True}}),
        rules,
    )


def bert_tokens():
    config = transformers.BertConfig(**BERT_LIKE, num_labels=5)
    rules = bert_rules("bert", (r"head\.out\.(\w+)", r"classifier.\1", None))
    return transformers.BertForTokenClassification(config), encoder({"kind": "token_classifier", "n_labels": 5}), rules


def bert_span():
    rules = bert_rules("bert", (r"head\.out\.(\w+)", r"qa_outputs.\1", None))
    return transformers.BertForQuestionAnswering(transformers.BertConfig(**BERT_LIKE)), encoder("span"), rules


def esm(ids, **embed):
    config = transformers.EsmConfig(
        **BERT_LIKE, token_dropout=True, emb_layer_norm_before=True, mask_token_id=MASK_ID, pad_token_id=1,
        position_embedding_type=ids,
    )  # fmt: skip
    at, theirs = r"encoder\.layers\.(\d+)\.", r"esm.encoder.layer.\1."
    rules = [
        (r"embed\.norm\.(\w+)", r"esm.embeddings.layer_norm.\1", None),
        (at + r"attention_input_norm\.(\w+)", theirs + r"attention.LayerNorm.\2", None),
        (at + r"feed_forward_input_norm\.(\w+)", theirs + r"LayerNorm.\2", None),
        (r"encoder\.final_norm\.(\w+)", r"esm.encoder.emb_layer_norm_after.\1", None),
        *bert_rules(
            "esm",
            (r"head\.dense\.(\w+)", r"lm_head.dense.\1", None),
            (r"head\.dense_norm\.(\w+)", r"lm_head.layer_norm.\1", None),
            (r"head\.bias", "lm_head.bias", None),
        ),
    ]
    heads = {
        "kind": "multi_head",
        "n_heads": 4,
        "bias": True,
        "mask": "full",
        "rotary": {} if ids == "rotary" else None,
    }
    spec = encoder(
        {"kind": "mlm_head", "tied_to": "embed", "dense": {"norm": NORM}},
        embed={"token_types": None, "token_dropout": {"mask_id": MASK_ID}, **embed},
        layer={"norm_placement": "pre", "attention": heads}, final_norm=True,
    )  # fmt: skip
    return transformers.EsmForMaskedLM(config), spec, rules


def esm_rotary():
    return esm("rotary", position=None)


def esm_absolute():
    return esm("absolute", position={"kind": "learned", "max_len": 62, "offset": 2})


MODELS = [
    bert_mlm, roberta_mlm, albert_mlm, electra_generator, electra_discriminator, bert_tokens, bert_span, esm_rotary,
    esm_absolute,
]  # fmt: skip


def given(padding):
    """Ids with mask tokens among them, and without the pad's id among the others."""
    ids, mask = batch(padding)
    ids = torch.where(ids == 1, 2, ids)
    ids[:, 3::4] = MASK_ID
    return torch.where(mask == 1, ids, 1), mask


@pytest.mark.parametrize("padding", ["none", "left", "right"])
@pytest.mark.parametrize("family", MODELS, ids=lambda family: family.__name__)
def test_as_hugging_face(family, padding):
    theirs, spec, rules = family()
    ours = to_torch(spec, mapped(to_torch(spec), perturbed(theirs).state_dict(), rules)).eval()
    ids, mask = given(padding)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask)
        found = ours(input_ids=ids, attention_mask=mask)
    for name, value in found.items():
        wanted = getattr(expected, name).numpy()
        assert relative_error(value.numpy().reshape(wanted.shape), wanted, mask.bool().numpy()) < 1e-5, name


# ---- decoders


def opt_350m():
    """Narrow token rows, mapped before positions are added, and mapped back before the table."""
    config = transformers.OPTConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=4, ffn_dim=FF,
        max_position_embeddings=64, word_embed_proj_dim=INNER, do_layer_norm_before=False,
        activation_function="gelu", attn_implementation="eager", pad_token_id=1,
    )  # fmt: skip
    at, theirs = r"decoder\.layers\.(\d+)\.", r"model.decoder.layers.\1."
    rules = [
        (r"embed\.tokens\.weight", "model.decoder.embed_tokens.weight", None),
        (r"embed\.positions\.weight", "model.decoder.embed_positions.weight", None),
        (r"embed\.projection\.weight", "model.decoder.project_in.weight", None),
        (r"head\.projection\.weight", "model.decoder.project_out.weight", None),
        (at + r"attention\.([qkv])_proj\.(\w+)", theirs + r"self_attn.\2_proj.\3", None),
        (at + r"attention\.o_proj\.(\w+)", theirs + r"self_attn.out_proj.\2", None),
        (at + r"attention_residual_norm\.(\w+)", theirs + r"self_attn_layer_norm.\2", None),
        (at + r"feed_forward\.up_proj\.(\w+)", theirs + r"fc1.\2", None),
        (at + r"feed_forward\.down_proj\.(\w+)", theirs + r"fc2.\2", None),
        (at + r"feed_forward_residual_norm\.(\w+)", theirs + r"final_layer_norm.\2", None),
    ]
    layer = {
        "norm": "layer_norm", "norm_placement": "post",
        "attention": {"kind": "multi_head", "n_heads": 4, "bias": True, "mask": "causal"},
        "feed_forward": {"kind": "mlp", "d_ff": FF, "bias": True},
    }  # fmt: skip
    embed = {
        "projection": {"dim": INNER, "at": "token"}, "position": {"kind": "learned", "max_len": 64, "offset": 2},
    }  # fmt: skip
    head = {"tied_to": "embed", "projection": {"dim": INNER}}
    spec = decoder(layer, embed=embed, head=head, final_norm=False)
    return transformers.OPTForCausalLM(config), spec, rules


def gemma2():
    """Logits bent towards a limit, rows scaled by the square root of the width."""
    config = transformers.Gemma2Config(
        **COMMON, rms_norm_eps=1e-6, head_dim=16, final_logit_softcapping=4.0, attn_logit_softcapping=None,
        query_pre_attn_scalar=16, layer_types=["full_attention"] * 3,
    )  # fmt: skip
    layer = {
        "norm": {"kind": "rms_norm", "eps": 1e-6, "gain_offset": 1.0}, "norm_placement": "sandwich",
        "attention": attention(head_dim=16),
        "feed_forward": {"kind": "gated_mlp", "d_ff": FF, "activation": "gelu_tanh"},
    }  # fmt: skip
    at, theirs = r"decoder\.layers\.(\d+)\.", r"model.layers.\1."
    rules = [
        (at + r"attention_output_norm\.weight", theirs + "post_attention_layernorm.weight", None),
        (at + r"feed_forward_input_norm\.weight", theirs + "pre_feedforward_layernorm.weight", None),
        (at + r"feed_forward_output_norm\.weight", theirs + "post_feedforward_layernorm.weight", None),
        *LLAMA_RULES,
    ]
    embed, head = {"multiplier": "sqrt_d_model"}, {"tied_to": "embed", "softcap": 4.0}
    return transformers.Gemma2ForCausalLM(config), decoder(layer, embed=embed, head=head), rules


def granite():
    """Multipliers on rows, branches, scores and logits."""
    config = transformers.GraniteConfig(
        **COMMON, rms_norm_eps=1e-6, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.3,
        logits_scaling=5.0, tie_word_embeddings=True,
    )  # fmt: skip
    layer = {
        **RMS, "attention": attention(scores={"scale": 0.3}), "feed_forward": {"kind": "gated_mlp", "d_ff": FF},
        "residual": {"kind": "sequential", "multiplier": 0.4},
    }  # fmt: skip
    spec = decoder(layer, embed={"multiplier": 3.0}, head={"tied_to": "embed", "multiplier": 1 / 5.0})
    return transformers.GraniteForCausalLM(config), spec, LLAMA_RULES


@pytest.mark.parametrize("padding", ["none", "left", "right"])
@pytest.mark.parametrize("family", [opt_350m, gemma2, granite], ids=lambda family: family.__name__)
def test_decoders_as_hugging_face(family, padding):
    theirs, spec, rules = family()
    ours = to_torch(spec, mapped(to_torch(spec), perturbed(theirs).state_dict(), rules)).eval()
    ids, mask = batch(padding)
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask, position_ids=places).logits
        found = ours(input_ids=ids, attention_mask=mask)["logits"]
    assert relative_error(found.numpy(), expected.numpy(), mask.bool().numpy()) < 1e-5
