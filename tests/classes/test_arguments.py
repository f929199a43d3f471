"""Arguments by class: a mistake is told at the argument that holds it, and no other value is taken in its place."""

from __future__ import annotations

import pytest
import torch

import flexit.pos_embeddings
from flexit.attention import AbsoluteMultiHeadedAttention, RotaryMultiHeadAttention
from flexit.errors import SpecError, UserError
from flexit.models import FlexiGPT, FlexiTransformer, ModelConfig
from flexit.pos_embeddings import (
    AbsolutePositionalEncoding,
    ALiBiPositionalEncoding,
    LearnedPositionalEncoding,
    RelativeBiasPositionalEncoding,
    RelativeGlobalPositionalEncoding,
    RelativePositionalEncoding,
    RotaryPositionalEncoding,
)

SMALL = {"d_model": 8, "n_heads": 2, "d_ff": 8}
PAIR = {"src_vocab": 9, "tgt_vocab": 9}
ROWS = torch.ones(1, 3, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: RotaryMultiHeadAttention(2, 8, rope_base=0.5),
            "FX0406 rope_base: .*\n.*; found 0.5\n.*leave rope",
        ),
        (lambda: RotaryPositionalEncoding(4, 1), "FX0406 base: .*\n.*; found 1.0\n.*leave base out"),
        (lambda: FlexiGPT(tgt_vocab=9, **SMALL, rope_base=1.0), "FX0406 rope_base: "),
        (lambda: RotaryMultiHeadAttention(2, 8, 0.01), "FX0405 rope_percentage: no channel would turn"),
        (lambda: FlexiGPT(tgt_vocab=9, **SMALL, rope_percentage=0.2), "FX0405 rope_percentage: no channel would turn"),
        (lambda: AbsolutePositionalEncoding(7), "FX0405 d_model: odd width .*\n.*; found 7"),
        (lambda: FlexiTransformer(tgt_vocab=9, d_model=7, n_heads=1, pe_type="absolute"), "FX0405 d_model: odd width"),
        (lambda: ALiBiPositionalEncoding(0), "FX0206 num_heads: "),
        (lambda: ALiBiPositionalEncoding("2"), "FX0205 num_heads: "),
        (lambda: RelativePositionalEncoding(0, 4), "FX0206 n_heads: "),
        (lambda: RelativePositionalEncoding("a", 4), "FX0205 n_heads: "),
        (lambda: RelativeGlobalPositionalEncoding(2, None), "FX0205 d_k: "),
    ],
)
def test_a_mistake_has_the_place_of_its_argument(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert len(caught.value.problems) == 1 and not isinstance(caught.value, SpecError)


def test_odd_widths_are_only_refused_where_pairs_are_needed():
    assert LearnedPositionalEncoding(7)(torch.ones(1, 2, 7)).shape == (1, 2, 7)
    assert ModelConfig(d_model=7, n_heads=1, pe_type="alibi", rope_base=0.5).d_model == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AbsoluteMultiHeadedAttention(2, 8)(None, None, None), "query does not fit\n.*; found None"),
        (lambda: RotaryMultiHeadAttention(2, 8)(ROWS, 3, 3), r"key does not fit\n.*\[1, length, 8\]; found 3"),
        (lambda: RotaryMultiHeadAttention(2, 8)(ROWS, ROWS, "x"), "value does not fit\n.*; found a str"),
        (lambda: RotaryMultiHeadAttention(2, 8)(ROWS, ROWS, ROWS, 3), "mask is no tensor\n.*; found 3"),
        (lambda: RotaryPositionalEncoding(4)(3), "x does not fit\n.*; found 3"),
        (lambda: AbsolutePositionalEncoding(4)(None), "x does not fit\n.*; found None"),
        (lambda: LearnedPositionalEncoding(4)([1.0]), "x does not fit\n.*; found a list"),
        (lambda: ALiBiPositionalEncoding(2)(2.5), "seq_len is out of range\n.*; found 2.5"),
        (lambda: ALiBiPositionalEncoding(2)(True), "seq_len is out of range\n.*; found True"),
        (lambda: RelativeBiasPositionalEncoding(4)(None), "seq_len is out of range\n.*; found None"),
        (lambda: RelativeBiasPositionalEncoding(4)("3"), "seq_len is out of range\n.*; found a str"),
        (lambda: RelativePositionalEncoding(2, 4)(None), "query does not fit\n.*; found None"),
    ],
)
def test_calls_without_tensors_are_explained(call, message):
    with pytest.raises(UserError, match=f"FX2001 .*: {message}"):
        call()


def test_limits_are_found_once(monkeypatch):
    encoding = RelativeGlobalPositionalEncoding(2, 4, max_len=3)
    monkeypatch.setattr(flexit.pos_embeddings, "limits_of", lambda program: pytest.fail("asked again"))
    assert encoding(torch.ones(1, 2, 3, 4)).shape == (1, 2, 3, 3)
    with pytest.raises(UserError, match="at most 3, which is max_len"):
        encoding(torch.ones(1, 2, 4, 4))


# ---- depths


@pytest.mark.parametrize(
    ("fields", "depths"),
    [
        ({**PAIR, "n_enc": 2}, (2, 6)), ({**PAIR, "n_dec": 2}, (6, 2)), ({**PAIR, "n_dec": 2, "n_enc": 3}, (3, 2)),
        ({**PAIR, "n_enc": 2, "n_layers": (2, 4)}, (2, 4)), ({**PAIR, "n_dec": 2, "n_layers": 2}, (2, 2)),
        ({"src_vocab": 9, "n_enc": 2}, 2), ({"tgt_vocab": 9, "n_dec": 2}, 2),
    ],
)  # fmt: skip
def test_depths_by_their_other_names(fields, depths):
    assert FlexiTransformer.configure(**fields).n_layers == depths
    assert FlexiTransformer.configure(fields).n_layers == depths


def test_one_depth_leaves_the_other_side_of_a_config():
    config = ModelConfig(**PAIR, n_layers=(3, 4))
    assert FlexiTransformer.configure(config, n_dec=1) == ModelConfig(**PAIR, d_ff=2048, n_layers=(3, 1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**PAIR, "n_enc": 2, "n_layers": 3}, "FX0103 n_enc: .*\n.*; found 2 and 3"),
        ({**PAIR, "n_enc": 2, "n_dec": 3, "n_layers": (2, 4)}, "FX0103 n_dec: "),
        ({"src_vocab": 9, "n_dec": 2}, "FX0501 n_dec: has no effect\n.*encoder-only; found 2\n.*write n_enc"),
        ({"tgt_vocab": 9, "n_enc": 2}, "FX0501 n_enc: has no effect\n.*decoder-only; found 2\n.*write n_dec"),
        ({**PAIR, "n_enc": 0}, "FX2001 n_enc: "), ({**PAIR, "n_dec": 2.0}, "FX2001 n_dec: "),
        ({"n_enc": 2}, "FX0202 vocab_size"),
    ],
)  # fmt: skip
def test_depths_that_contradict_each_other(fields, message):
    with pytest.raises(UserError, match=message):
        FlexiTransformer.configure(**fields)
