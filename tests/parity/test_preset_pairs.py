"""Presets of published encoder-decoders, in miniature, against Hugging Face with the settings of the published
configuration, and the text decoder of a speech model given the states of an encoder.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.proof.compare import relative_error
from tests.miniature import miniature
from tests.parity.test_decoders import batch, mapped, perturbed
from tests.parity.test_encoders import T5_RULES

pytestmark = pytest.mark.slow

Sizes = dict[str, Any]


def sizes_of(blocks: Any) -> Sizes:
    """Sizes of an encoder and a decoder that are alike, under the names of BART and its kin."""
    embed, stack = blocks["source" if "source" in blocks else "embed"], blocks["decoder"]
    layer = stack["layer"]
    sizes: Sizes = {"vocab_size": embed["vocab_size"], "d_model": embed["d_model"], "attn_implementation": "eager"}
    for side in ("encoder", "decoder"):
        sizes |= {
            f"{side}_layers": stack["n_layers"],
            f"{side}_attention_heads": layer["attention"]["n_heads"],
            f"{side}_ffn_dim": layer["feed_forward"]["d_ff"],
        }
    return sizes


def bart_rules(prefix: str = "model.") -> list[tuple[str, str, None]]:
    at, there = r"(encoder|decoder)\.layers\.(\d+)\.", prefix + r"\1.layers.\2."
    rules: list[tuple[str, str, None]] = [
        (r"source\.tokens\.weight", prefix + "shared.weight", None),
        (r"head\.bias", "final_logits_bias", None),
        (at + r"feed_forward\.up_proj\.(\w+)", there + r"fc1.\3", None),
        (at + r"feed_forward\.down_proj\.(\w+)", there + r"fc2.\3", None),
        (at + r"feed_forward_(?:residual|input)_norm\.(\w+)", there + r"final_layer_norm.\3", None),
    ]
    for ours, theirs in (("attention", "self_attn"), ("cross_attention", "encoder_attn")):
        rules += [
            (at + ours + r"\.o_proj\.(\w+)", there + theirs + r".out_proj.\3", None),
            (at + ours + r"\.(\w_proj)\.(\w+)", there + theirs + r".\3.\4", None),
            (at + ours + r"_(?:residual|input)_norm\.(\w+)", there + theirs + r"_layer_norm.\3", None),
        ]
    for ours, theirs in (("source", "encoder"), ("target", "decoder")):
        rules += [
            (ours + r"\.positions\.weight", f"{prefix}{theirs}.embed_positions.weight", None),
            (ours + r"\.norm\.(\w+)", prefix + theirs + r".layernorm_embedding.\1", None),
        ]
    return rules


def with_bias(theirs: Any) -> Any:
    """Its weights perturbed, with a bias of the logits, and with the positions that are no weights as they were."""
    sides = [theirs.model.encoder.embed_positions, theirs.model.decoder.embed_positions]
    fixed = [None if side.weight.requires_grad else side.weight.clone() for side in sides]
    theirs = perturbed(theirs)
    for side, weight in zip(sides, fixed, strict=True):
        side.weight.data = side.weight.data if weight is None else weight.data
    theirs.final_logits_bias.copy_(0.3 * torch.randn(theirs.final_logits_bias.shape))
    return theirs


def bart(sizes: Sizes, _: Any) -> Any:
    config = hf.BartConfig(**sizes, activation_function="gelu", scale_embedding=False, max_position_embeddings=1024)
    return with_bias(hf.BartForConditionalGeneration(config)), bart_rules()


def marian(sizes: Sizes, _: Any) -> Any:
    config = hf.MarianConfig(
        **sizes, activation_function="swish", scale_embedding=True, max_position_embeddings=512,
        pad_token_id=sizes["vocab_size"] - 1,
    )  # fmt: skip
    return with_bias(hf.MarianMTModel(config)), bart_rules()


def t5_sizes(blocks: Any) -> Sizes:
    layer = blocks["decoder"]["layer"]
    return {
        "vocab_size": blocks["source"]["vocab_size"],
        "d_model": blocks["source"]["d_model"],
        "d_kv": layer["attention"]["head_dim"],
        "d_ff": layer["feed_forward"]["d_ff"],
        "num_heads": layer["attention"]["n_heads"],
        "num_layers": blocks["decoder"]["n_layers"],
    }


def t5(_: Sizes, blocks: Any) -> Any:
    return perturbed(hf.T5ForConditionalGeneration(hf.T5Config(**t5_sizes(blocks)))), T5_RULES


def flan_t5(_: Sizes, blocks: Any) -> Any:
    """Its head is the table here, which newer versions of the class tie, but not scaled."""
    config = hf.T5Config(**t5_sizes(blocks), feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    gated = [
        (
            rf"{side}\.layers\.(\d+)\.feed_forward\.{ours}_proj\.weight",
            rf"{side}.block.\1.layer.{place}.DenseReluDense.{theirs}.weight",
            None,
        )
        for side, place in (("encoder", 1), ("decoder", 2))
        for ours, theirs in (("gate", "wi_0"), ("up", "wi_1"))
    ]
    head = (r"head\.table\.weight", "lm_head.weight", None)
    return perturbed(hf.T5ForConditionalGeneration(config)), [head, *gated, *T5_RULES]


FAMILIES: dict[str, Callable[[Sizes, Any], Any]] = {
    "bart-base": bart, "flan-t5-small": flan_t5, "marian-en-de": marian, "t5-small": t5,
}  # fmt: skip


def paired(name: str, family: Callable[[Sizes, Any], Any]) -> tuple[Any, FlexitModule]:
    """Their model and our preset on its weights."""
    spec = miniature(name)
    assert spec.node is not None
    blocks = spec.node.plain()["blocks"]
    torch.manual_seed(0)
    theirs, rules = family(sizes_of(blocks), blocks)
    state = {
        key: value.flatten() if key == "final_logits_bias" else value for key, value in theirs.state_dict().items()
    }
    return theirs, to_torch(spec, mapped(to_torch(spec, device="meta"), state, rules)).eval()


@pytest.mark.parametrize("padding", ["none", "right"])
@pytest.mark.parametrize("name", FAMILIES)
def test_same_logits(name: str, padding: str) -> None:
    theirs, ours = paired(name, FAMILIES[name])
    ids, mask = batch(padding)
    target = ids.flip(1)[:, :7]
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits
        found = ours(input_ids=ids, attention_mask=mask, decoder_input_ids=target)["logits"]
    assert relative_error(found.numpy(), expected.numpy()) < 1e-5


def whisper(sizes: Sizes, _: Any) -> Any:
    config = hf.WhisperConfig(**sizes, max_target_positions=448, activation_function="gelu", pad_token_id=0)
    rules = [
        (r"embed\.tokens\.weight", "model.decoder.embed_tokens.weight", None),
        (r"embed\.positions\.weight", "model.decoder.embed_positions.weight", None),
        (r"decoder\.final_norm\.(\w+)", r"model.decoder.layer_norm.\1", None),
        *bart_rules(),
    ]
    return perturbed(hf.WhisperForConditionalGeneration(config)), rules


def test_a_decoder_of_speech_on_the_same_states() -> None:
    theirs, ours = paired("whisper-tiny-decoder", whisper)
    ids, _ = batch("none")
    states = torch.randn((len(ids), 6, theirs.config.d_model))
    with torch.no_grad():
        expected = theirs(encoder_outputs=BaseModelOutput(last_hidden_state=states), decoder_input_ids=ids).logits
        found = ours(input_ids=ids, encoder_hidden_states=states)["logits"]
    assert relative_error(found.numpy(), expected.numpy()) < 1e-5


def vaswani(sizes: Sizes) -> nn.Transformer:
    """The model of 2017 as torch has it, without the last norms, whose biases of attention are zero."""
    made = (sizes["d_model"], sizes["decoder_attention_heads"], sizes["decoder_ffn_dim"])
    options: Sizes = {"dropout": 0.0, "activation": "relu", "layer_norm_eps": 1e-6, "batch_first": True}
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(*made, **options), sizes["encoder_layers"], enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*made, **options), sizes["decoder_layers"])
    whole = perturbed(nn.Transformer(*made[:2], custom_encoder=encoder, custom_decoder=decoder, batch_first=True))
    for name, parameter in whole.named_parameters():
        if name.endswith(("in_proj_bias", "out_proj.bias")):
            parameter.data.zero_()
    return whole


def vaswani_rules() -> list[Any]:
    at, there = r"(encoder|decoder)\.layers\.(\d+)\.", r"\1.layers.\2."
    rules: list[Any] = [
        (at + r"feed_forward\.up_proj\.(\w+)", there + r"linear1.\3", None),
        (at + r"feed_forward\.down_proj\.(\w+)", there + r"linear2.\3", None),
        (r"encoder\.layers\.(\d+)\.feed_forward_residual_norm\.(\w+)", r"encoder.layers.\1.norm2.\2", None),
        (r"decoder\.layers\.(\d+)\.feed_forward_residual_norm\.(\w+)", r"decoder.layers.\1.norm3.\2", None),
        (r"source\.tokens\.weight", "table", None),
    ]
    for ours, theirs, norm in (("attention", "self_attn", "norm1"), ("cross_attention", "multihead_attn", "norm2")):
        rules += [
            (at + ours + r"_residual_norm\.(\w+)", there + norm + r".\3", None),
            (at + ours + r"\.o_proj\.weight", there + theirs + ".out_proj.weight", None),
            *[
                (at + ours + rf"\.{p}_proj\.weight", there + theirs + ".in_proj_weight", lambda w, i=i: w.chunk(3)[i])
                for i, p in enumerate("qkv")
            ],
        ]
    return rules


def with_sines(rows: torch.Tensor) -> torch.Tensor:
    """Rows times the root of their width, plus sin and cos in turn of position / 10000^(2i / width)."""
    length, width = rows.shape[1:]
    angles = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(0, width, 2) / width))
    return rows * width**0.5 + torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


@pytest.mark.parametrize("padding", ["none", "right"])
def test_the_first_of_them_as_torch_has_it(padding: str) -> None:
    spec = miniature("vaswani-base")
    assert spec.node is not None
    sizes = sizes_of(spec.node.plain()["blocks"])
    theirs, table = vaswani(sizes), torch.randn(sizes["vocab_size"], sizes["d_model"])
    weights = mapped(to_torch(spec, device="meta"), {**theirs.state_dict(), "table": table}, vaswani_rules())
    ours = to_torch(spec, weights).eval()
    ids, mask = batch(padding)
    target = ids.flip(1)[:, :7]
    pads, later = mask == 0, torch.ones((7, 7), dtype=torch.bool).triu(1)
    with torch.no_grad():
        states = theirs(
            with_sines(table[ids]), with_sines(table[target]), tgt_mask=later, src_key_padding_mask=pads,
            memory_key_padding_mask=pads,
        )  # fmt: skip
        found = ours(input_ids=ids, attention_mask=mask, decoder_input_ids=target)["logits"]
    assert relative_error(found.numpy(), (states @ table.T).numpy()) < 1e-5
