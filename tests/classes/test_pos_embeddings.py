"""The classes of positions: what they compute, against definitions in float64, and what may be made of them."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import flexit.pos_embeddings
from flexit.attention import RelativeBiasMultiHeadAttention, RelativeGlobalAttention, RelativeMultiHeadAttention
from flexit.errors import UserError
from flexit.pos_embeddings import (
    AbsolutePositionalEncoding,
    ALiBiPositionalEncoding,
    LearnedPositionalEncoding,
    PositionalEncoding,
    RelativeBiasPositionalEncoding,
    RelativeGlobalPositionalEncoding,
    RelativePositionalEncoding,
    RotaryPositionalEncoding,
)

HEADS, SIZE, LENGTH = 3, 6, 5


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- rows that are added


def test_sines_and_cosines_are_added():
    d_model, rows = 12, 40
    encoding = AbsolutePositionalEncoding(d_model, 0.0, rows)
    expected = np.zeros((rows, d_model))
    for position in range(rows):
        for pair in range(d_model // 2):
            angle = position / 10000 ** (2 * pair / d_model)
            expected[position, 2 * pair : 2 * pair + 2] = np.sin(angle), np.cos(angle)
    assert encoding.pe.shape == (1, rows, d_model)
    assert np.abs(encoding.pe[0].numpy() - expected).max() < 1e-5
    x = numbers(2, 7, d_model)
    assert torch.equal(encoding(x), x + encoding.pe[:, :7])


def test_a_table_has_a_length_and_a_width():
    assert AbsolutePositionalEncoding(8).pe.shape == (1, 5000, 8)
    assert AbsolutePositionalEncoding(8, 0.0, max_len=9).pe.shape == (1, 9, 8)
    assert AbsolutePositionalEncoding(8, 9).pe.shape == (1, 9, 8)  # as the original's page calls it
    assert AbsolutePositionalEncoding(8, 9).dropout.p == 0.1
    for cls in (AbsolutePositionalEncoding, LearnedPositionalEncoding):
        encoding = cls(8, 0.0, 9)
        for shape in ((1, 10, 8), (1, 9, 7), (9, 8)):
            with pytest.raises(UserError, match="expected \\[batch, at most 9, 8\\]"):
                encoding(torch.zeros(shape))


def test_the_sum_is_dropped_in_training_alone():
    encoding, x = AbsolutePositionalEncoding(64, 0.25, 50), torch.ones(4, 50, 64)
    dropped = (encoding(x) == 0).float().mean()
    assert 0.2 < float(dropped) < 0.3
    assert torch.equal(encoding.eval()(x), x + encoding.pe)


def test_learned_rows_are_drawn_and_trained():
    torch.manual_seed(3)
    encoding = LearnedPositionalEncoding(8, 0.0, 20)
    torch.manual_seed(3)
    assert torch.equal(LearnedPositionalEncoding(8, 0.0, 20).pe, encoding.pe)
    assert encoding.pe.std() > 0.01
    assert isinstance(encoding, AbsolutePositionalEncoding) and list(encoding.state_dict()) == ["pe"]
    assert LearnedPositionalEncoding(7, 0.0, 20).pe.shape == (1, 20, 7)  # an odd width, too
    encoding(numbers(2, 5, 8)).square().sum().backward()
    moved = encoding.pe.grad[0].abs().sum(-1) > 0
    assert moved[:5].all() and not moved[5:].any()


class Printed(AbsolutePositionalEncoding):
    """The class of the original's page, as it stands there."""

    def __init__(self, d_model, max_len=5000):
        super().__init__(d_model, max_len)
        self.pe = nn.Parameter(torch.zeros(1, max_len, d_model))


def test_a_subclass_replaces_the_table():
    encoding = Printed(8, max_len=30).eval()
    x = numbers(2, 7, 8)
    assert torch.equal(encoding(x), x)
    assert [name for name, _ in encoding.named_parameters()] == ["pe"] and not list(encoding.buffers())
    with torch.no_grad():
        encoding.pe += 1
    assert torch.equal(encoding(x), x + 1)
    encoding(x).sum().backward()
    assert encoding.pe.grad is not None
    other = Printed(8, max_len=30).eval()
    other.load_state_dict(encoding.state_dict())
    assert torch.equal(other(x), encoding(x))


def test_rows_have_the_dtype_of_what_they_are_added_to():
    x = torch.zeros(1, 3, 8, dtype=torch.bfloat16)
    assert AbsolutePositionalEncoding(8, 0.0, 9)(x).dtype == torch.bfloat16


# ---- rotation


@pytest.mark.parametrize(("d_features", "base"), [(6, 10000), (4, 500.0)])
def test_channels_turn_as_complex_numbers(d_features, base):
    x = numbers(2, HEADS, LENGTH, SIZE)
    found = RotaryPositionalEncoding(d_features, base)(x).numpy()
    half, given = d_features // 2, x.double().numpy()
    pairs = given[..., :half] + 1j * given[..., half:d_features]
    angles = np.arange(LENGTH)[:, None] * float(base) ** (-2 * np.arange(half) / d_features)
    pairs = pairs * np.exp(1j * angles)
    expected = np.concatenate([pairs.real, pairs.imag, given[..., d_features:]], -1)
    assert np.abs(found - expected).max() < 1e-6
    assert not list(RotaryPositionalEncoding(d_features).state_dict())


def test_turned_products_depend_on_distances_alone():
    rotary, q, k = RotaryPositionalEncoding(SIZE), numbers(1, 1, 1, SIZE), numbers(1, 1, 1, SIZE, seed=1)
    scores = rotary(q.expand(1, 1, LENGTH, SIZE))[0, 0] @ rotary(k.expand(1, 1, LENGTH, SIZE))[0, 0].T
    for distance in range(-LENGTH + 1, LENGTH):
        diagonal = scores.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5)
    assert not torch.allclose(scores[0, 0], scores[0, 1], atol=1e-2)


# ---- terms of scores


@pytest.mark.parametrize("heads", [1, 4, 6])
def test_alibi_is_a_penalty_by_distance(heads):
    found = ALiBiPositionalEncoding(heads, 20)(LENGTH)
    slopes = {
        1: [2**-8], 4: [2**-2, 2**-4, 2**-6, 2**-8], 6: [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3],
    }[heads]  # fmt: skip
    places = np.arange(LENGTH)
    expected = -np.array(slopes)[:, None, None] * np.abs(places[:, None] - places)
    assert found.shape == (heads, LENGTH, LENGTH)
    assert np.abs(found.numpy() - expected).max() < 1e-7
    assert not ALiBiPositionalEncoding(heads).state_dict()
    assert ALiBiPositionalEncoding(heads)(LENGTH, torch.device("cpu")).dtype == torch.float32


def drawn(encoding: PositionalEncoding) -> PositionalEncoding:
    (parameter,) = encoding.parameters()
    with torch.no_grad():
        parameter.copy_(numbers(*parameter.shape, seed=4))
    return encoding


def test_a_number_for_each_distance():
    encoding = drawn(RelativeBiasPositionalEncoding(max_len=6))
    (table,) = encoding.parameters()
    found, numbers_of = encoding(LENGTH).tolist(), table.flatten().tolist()
    assert found == [[[numbers_of[j - i + 5] for j in range(LENGTH)] for i in range(LENGTH)]]


@pytest.mark.parametrize("clipped", [True, False])
def test_a_vector_for_each_distance(clipped):
    cls, longest = (RelativePositionalEncoding, 3) if clipped else (RelativeGlobalPositionalEncoding, 6)
    encoding, q = drawn(cls(HEADS, SIZE, longest)), numbers(2, HEADS, LENGTH, SIZE)
    (table,) = encoding.parameters()
    vectors, queries = table.detach().double().numpy(), q.double().numpy()
    expected = np.zeros((2, HEADS, LENGTH, LENGTH))
    for row, h, i, j in np.ndindex(expected.shape):
        vector = vectors[min(max(j - i, -2), 2) + 2] if clipped else vectors[h, j - i + 5]
        expected[row, h, i, j] = queries[row, h, i] @ vector
    assert np.abs(encoding(q).detach().numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("attention", "encoding"),
    [
        (RelativeMultiHeadAttention(HEADS, HEADS * SIZE, 6), RelativePositionalEncoding(HEADS, SIZE, 6)),
        (RelativeGlobalAttention(HEADS, HEADS * SIZE, 6), RelativeGlobalPositionalEncoding(HEADS, SIZE, 6)),
        (RelativeBiasMultiHeadAttention(HEADS, HEADS * SIZE, 6), RelativeBiasPositionalEncoding(6)),
    ],
    ids=lambda module: type(module).__name__,
)
def test_tables_are_those_of_the_attention(attention, encoding):
    names = {name: value.shape for name, value in attention.state_dict().items() if "score_bias" in name}
    assert {name.removeprefix("lowered."): value.shape for name, value in encoding.state_dict().items()} == names


# ---- as modules

ALL = {
    AbsolutePositionalEncoding: ((8, 0.0, 9), (2, LENGTH, 8)),
    LearnedPositionalEncoding: ((8, 0.0, 9), (2, LENGTH, 8)),
    RotaryPositionalEncoding: ((4,), (2, HEADS, LENGTH, SIZE)),
    ALiBiPositionalEncoding: ((HEADS, 9), None),
    RelativeBiasPositionalEncoding: ((9,), None),
    RelativePositionalEncoding: ((HEADS, SIZE, 9), (2, HEADS, LENGTH, SIZE)),
    RelativeGlobalPositionalEncoding: ((HEADS, SIZE, 9), (2, HEADS, LENGTH, SIZE)),
}


@pytest.mark.parametrize("cls", ALL)
def test_copies_pickles_and_states(cls):
    arguments, shape = ALL[cls]
    given = LENGTH if shape is None else numbers(*shape)
    encoding = cls(*arguments).eval()
    expected = encoding(given)
    for each in (copy.deepcopy(encoding), pickle.loads(pickle.dumps(encoding))):
        assert isinstance(each, cls) and torch.equal(each(given), expected)
    other = cls(*arguments).eval()
    trained = bool(list(encoding.parameters()))
    assert torch.equal(other(given), expected) is not trained
    other.load_state_dict(encoding.state_dict())
    assert torch.equal(other(given), expected)
    if trained:
        encoding(given).square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in encoding.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AbsolutePositionalEncoding(7, 0.0), "odd width of a sinusoidal table"),
        (lambda: AbsolutePositionalEncoding(8, 1.5), "FX0206 dropout"),
        (lambda: AbsolutePositionalEncoding(8, 9, 9), "FX0206 dropout"),
        (lambda: AbsolutePositionalEncoding(8, 0.0, 0), "FX0206 max_len"),
        (lambda: AbsolutePositionalEncoding(8, 0.0, max_length=9), "write max_len"),
        (lambda: LearnedPositionalEncoding("8"), "FX0205 d_model"),
        (lambda: RotaryPositionalEncoding(5), "an odd number of channels would turn"),
        (lambda: RotaryPositionalEncoding(4, 1.0), "a number over 1"),
        (lambda: RotaryPositionalEncoding("4"), "FX0205 d_features"),
        (lambda: RotaryPositionalEncoding(4, bass=5.0), "write base"),
        (lambda: RotaryPositionalEncoding(8)(torch.zeros(1, 1, 2, 6)), "at least 8"),
        (lambda: RotaryPositionalEncoding(4)(torch.zeros(1, 2, 6)), "x does not fit"),
        (lambda: ALiBiPositionalEncoding(0), "FX0206 num_heads"),
        (lambda: ALiBiPositionalEncoding(2, 8)(9), "from 1 to max_len, which is 8"),
        (lambda: ALiBiPositionalEncoding(2, max_lenn=8), "write max_len"),
        (lambda: RelativeBiasPositionalEncoding(4)(0), "seq_len is out of range"),
        (lambda: RelativePositionalEncoding(2, "6"), "FX0205 d_k"),
        (lambda: RelativePositionalEncoding(0, 6), "FX0206 n_heads"),
        (lambda: RelativePositionalEncoding(2, 6)(torch.zeros(1, 2, 5, 4)), "query does not fit"),
        (lambda: RelativeGlobalPositionalEncoding(2, 6, 4)(torch.zeros(1, 2, 5, 6)), "at most 4, which is max_len"),
    ],
)
def test_mistakes_are_explained(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_every_public_class_is_tested():
    public = {getattr(flexit.pos_embeddings, name) for name in flexit.pos_embeddings.__all__}
    assert public == {*ALL, PositionalEncoding}
    with pytest.raises(TypeError, match="abstract"):
        PositionalEncoding()
