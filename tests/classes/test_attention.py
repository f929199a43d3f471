"""The attention classes: what they compute, against PyTorch's own attention and definitions in float64."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import flexit.attention
from flexit.attention import (
    AbsoluteMultiHeadedAttention,
    AbstractAttention,
    ALiBiMultiHeadAttention,
    MultiHeadedAttention,
    RelativeBiasMultiHeadAttention,
    RelativeGlobalAttention,
    RelativeMultiHeadAttention,
    RotaryMultiHeadAttention,
)
from flexit.errors import UserError
from flexit.models import FlexiTransformer

HEADS, WIDTH, LENGTH = 4, 32, 7
CLASSES = {
    AbsoluteMultiHeadedAttention: {},
    RotaryMultiHeadAttention: {},
    ALiBiMultiHeadAttention: {},
    RelativeMultiHeadAttention: {"max_len": 4},
    RelativeBiasMultiHeadAttention: {"max_len": 4},
    RelativeGlobalAttention: {"max_len": 9},
}
COMPARING = [cls for cls in CLASSES if cls is not AbsoluteMultiHeadedAttention]


def made(cls: type[MultiHeadedAttention], **fields: object) -> MultiHeadedAttention:
    """With weights that show faults."""
    module = cls(HEADS, WIDTH, **{**CLASSES[cls], **fields})
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * (0.3 if parameter.shape[-1] > 1 else 1))
    return module.eval()


@pytest.fixture(params=CLASSES, ids=lambda cls: cls.__name__)
def attention(request: pytest.FixtureRequest) -> MultiHeadedAttention:
    return made(request.param)


def rows(length: int = LENGTH, *, seed: int = 1, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def padding(left: int, right: int = 0, length: int = LENGTH) -> torch.Tensor:
    """``bool [2, length]``; the second row is padded."""
    shown = torch.ones(2, length, dtype=torch.bool)
    shown[1, :left] = False
    shown[1, length - right :] = False
    return shown


# ---- what is computed


def as_in_torch(attention: MultiHeadedAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    state = attention.state_dict()
    parts = ("q_proj", "k_proj", "v_proj")
    theirs.load_state_dict({
        "in_proj_weight": torch.cat([state[f"{part}.weight"] for part in parts]),
        "in_proj_bias": torch.cat([state[f"{part}.bias"] for part in parts]),
        "out_proj.weight": state["o_proj.weight"], "out_proj.bias": state["o_proj.bias"],
    })  # fmt: skip
    return theirs


@pytest.mark.parametrize("form", ["full", "causal", "padded", "across", "across padded"])
def test_without_positions_it_is_pytorchs(form):
    attention, x = made(AbsoluteMultiHeadedAttention), rows()
    theirs = as_in_torch(attention)
    order = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    if form.startswith("across"):
        memory, shown = rows(9, seed=2), padding(2, 1, length=9)
        mask = shown[:, None] if "padded" in form else None
        found = attention(x, memory, memory, mask)
        expected = theirs(x, memory, memory, key_padding_mask=~shown if "padded" in form else None)[0]
    elif form == "padded":
        shown = padding(2, 1)
        found, expected = attention(x, x, x, shown[:, None]), theirs(x, x, x, key_padding_mask=~shown)[0]
    else:
        causal = form == "causal"
        found = attention(x, x, x, order[None] if causal else None)
        expected = theirs(x, x, x, attn_mask=~order if causal else None)[0]
    assert torch.allclose(found, expected, atol=1e-5)


def defined(attention: MultiHeadedAttention, x: torch.Tensor, seen: np.ndarray) -> np.ndarray:
    """Softmax attention of one row ``[length, width]`` in float64, pair by pair; ``seen [length, length]``."""
    weights = {name: value.double().numpy() for name, value in attention.state_dict().items()}
    data, size = x.double().numpy(), WIDTH // HEADS

    def heads(part):
        flat = data @ weights[f"{part}.weight"].T + weights[f"{part}.bias"]
        return flat.reshape(len(data), HEADS, size)

    q, k, v = (heads(part) for part in ("q_proj", "k_proj", "v_proj"))
    if attention.pe_type == "rotary":
        q, k = turned(q), turned(k)
    results = np.zeros((len(data), HEADS, size))
    for h in range(HEADS):
        for i in range(len(data)):
            scores = np.full(len(data), -np.inf)
            for j in np.flatnonzero(seen[i]):
                scores[j] = q[i, h] @ k[j, h] / size**0.5 + term(attention, weights, q[i, h], h=h, d=int(j) - i)
            chances = np.exp(scores - scores.max())
            results[i, h] = chances / chances.sum() @ v[:, h]
    return results.reshape(len(data), WIDTH) @ weights["o_proj.weight"].T + weights["o_proj.bias"]


def turned(heads: np.ndarray) -> np.ndarray:
    """Half of the eight channels, as complex numbers."""
    dim = 4
    pairs = heads[..., : dim // 2] + 1j * heads[..., dim // 2 : dim]
    angles = np.arange(len(heads))[:, None, None] * 10000.0 ** (-2 * np.arange(dim // 2) / dim)
    pairs = pairs * np.exp(1j * angles)
    return np.concatenate([pairs.real, pairs.imag, heads[..., dim:]], -1)


def term(attention: MultiHeadedAttention, weights: dict[str, np.ndarray], q: np.ndarray, *, h: int, d: int) -> float:
    """What is added to the score of a pair at distance ``d``."""
    if attention.pe_type == "alibi":
        return -(2.0 ** (-8 * (h + 1) / HEADS)) * abs(d)
    near = min(max(d, -3), 3) + 3
    if attention.pe_type == "relative":
        return float(q @ weights["score_bias.keys"][near])
    if attention.pe_type == "relative_bias":
        return float(weights["score_bias.weight"][near, 0])
    if attention.pe_type == "relative_global":
        return float(q @ weights["score_bias.keys"][h, d + 8]) / len(q) ** 0.5
    return 0.0


@pytest.mark.parametrize("form", ["full", "causal", "padded", "padded and causal", "prefix"])
def test_as_defined_in_float64(attention, form):
    x, order = rows(), torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    shown = padding(0, 2) if "padded" in form else padding(0)
    seen = shown[:, None, :].expand(2, LENGTH, LENGTH)
    if "causal" in form:
        seen = seen & order
    if form == "prefix":
        seen = seen & order
        seen[0, :3, :3] = True
        seen[1, :5, :5] = True
    given = {"full": None, "padded": shown[:, None]}.get(form, seen)
    found = attention(x, x, x, given)
    for row in range(2):
        expected = defined(attention, x[row], seen[row].numpy())
        assert np.abs(found[row].detach().numpy() - expected)[shown[row].numpy()].max() < 1e-5


def test_causal_attention_does_not_see_the_future(attention):
    x, order = rows(), torch.ones(1, LENGTH, LENGTH).tril()
    changed = x.clone()
    changed[:, -1] += 1
    before, after = attention(x, x, x, order), attention(changed, changed, changed, order)
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-3)
    assert not torch.allclose(attention(x, x, x)[:, 0], attention(changed, changed, changed)[:, 0], atol=1e-4)


def test_rows_padded_on_the_left_are_as_alone(attention):
    x, order = rows(), torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    alone = x[1:, 2:]
    shown = padding(2)
    for mask, small in ((shown[:, None], None), (shown[:, None] & order, order[None, 2:, 2:])):
        assert torch.allclose(attention(x, x, x, mask)[1:, 2:], attention(alone, alone, alone, small), atol=1e-5)


def test_masks_of_every_shape_and_type(attention):
    x, order = rows(), torch.ones(LENGTH, LENGTH).tril()
    shown = padding(1, 1)
    same = [shown, shown[:, None], shown[:, None, None], shown.int()[:, None], shown.float()[:, None]]
    same.append(shown[:, None].expand(2, LENGTH, LENGTH))
    same.append(shown[:, None] & shown[:, :, None])  # what pads see makes no difference
    results = [attention(x, x, x, mask) for mask in same]
    assert all(torch.equal(result, results[0]) for result in results)
    causal = [order[None], order[None, None], order.expand(2, 1, -1, -1), order.bool()[None]]
    results = [attention(x, x, x, mask) for mask in causal]
    assert all(torch.equal(result, results[0]) for result in results)


# ---- as modules


def test_every_parameter_has_a_gradient(attention):
    x = rows().requires_grad_()
    attention(x, x, x, torch.ones(1, LENGTH, LENGTH).tril()).square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    for name, parameter in attention.named_parameters():
        moves = name != "k_proj.bias"  # which adds the same to all scores of a query
        assert parameter.grad is not None and (not moves or parameter.grad.abs().sum() > 0), name


def test_states_are_loaded_and_copies_are_apart(attention):
    x = rows()
    expected = attention(x, x, x)
    other = type(attention)(HEADS, WIDTH, **CLASSES[type(attention)]).eval()
    assert not torch.allclose(other(x, x, x), expected, atol=1e-3)
    other.load_state_dict(attention.state_dict())
    for each in (other, copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):
        assert torch.equal(each(x, x, x), expected)
        with torch.no_grad():
            each.q_proj.weight.zero_()
        assert not torch.allclose(each(x, x, x), expected, atol=1e-4)
    assert torch.equal(attention(x, x, x), expected)


def test_dtype_and_mode_are_those_of_the_module(attention):
    x = rows()
    double = copy.deepcopy(attention).double()
    wide = x.double()
    assert double(wide, wide, wide).dtype == torch.float64
    assert torch.allclose(double(wide, wide, wide).float(), attention(x, x, x), atol=1e-5)
    dropping = type(attention)(HEADS, WIDTH, dropout=0.5, **CLASSES[type(attention)])
    assert not torch.equal(dropping(x, x, x), dropping(x, x, x))
    assert torch.equal(dropping.eval()(x, x, x), dropping(x, x, x))


def test_constants_move_with_the_parameters(attention):
    x = rows().to("meta")
    assert copy.deepcopy(attention).to("meta")(x, x, x).device.type == "meta"


def test_both_forms_use_what_replaces_a_projection():
    attention, x, memory = made(AbsoluteMultiHeadedAttention), rows(), rows(5, seed=3)
    assert len(list(attention.parameters())) == len(attention.state_dict()) == 8
    before = attention(x, x, x), attention(x, memory, memory)
    attention.v_proj = nn.Linear(WIDTH, WIDTH)
    after = attention(x, x, x), attention(x, memory, memory)
    assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(before, after, strict=True))


def test_it_takes_the_parameters_of_a_models_layer(attention):
    length = CLASSES[type(attention)].get("max_len", 9)
    model = FlexiTransformer(
        src_vocab=9, d_model=WIDTH, n_heads=HEADS, n_layers=1, d_ff=8, pe_type=attention.pe_type, max_seq_len=length
    )  # fmt: skip
    layer = model.get_submodule("encoder.layers.0.attention").state_dict()
    own = type(attention)(HEADS, WIDTH, **CLASSES[type(attention)])
    own.load_state_dict(layer)
    assert all(torch.equal(value, layer[name]) for name, value in own.state_dict().items())


def test_weights_follow_the_seed_of_pytorch():
    def weights(seed):
        torch.manual_seed(seed)
        return RotaryMultiHeadAttention(HEADS, WIDTH).q_proj.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


class LocalWindowAttention(AbstractAttention):
    """The page's example: only neighbours are seen."""

    def forward(self, query, key, value, mask=None):
        q, k, v = self.projected(query, key, value)
        place = torch.arange(query.shape[1])
        near = (place[:, None] - place).abs() <= 2
        if mask is not None:
            near = near & mask.bool()[:, None]
        return self.joined(F.scaled_dot_product_attention(q, k, v, near))


def test_a_class_of_ones_own():
    own, x = LocalWindowAttention(HEADS, WIDTH).eval(), rows()
    assert (own.n_heads, own.d_model, own.d_k, own.dropout) == (HEADS, WIDTH, WIDTH // HEADS, 0.1)
    plain = AbsoluteMultiHeadedAttention(HEADS, WIDTH).eval()
    plain.load_state_dict(own.state_dict())
    place = np.arange(LENGTH)
    near = np.abs(place[:, None] - place) <= 2
    expected = np.stack([defined(plain, row, near) for row in x])
    assert np.abs(own(x, x, x).detach().numpy() - expected).max() < 1e-5
    with pytest.raises(TypeError, match="abstract"):
        AbstractAttention(HEADS, WIDTH)


# ---- what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, x, o: a(x, x, x, o.triu()), "says more than padding, causality and a prefix"),
        (lambda a, x, o: a(x, x, x, o.tril() * o.triu(-2)), "say windows and the like in a spec"),
        (lambda a, x, o: a(x, x, x, o[:, :3]), "mask does not fit"),
        (lambda a, x, o: a(x, x, x, o[0]), "mask does not fit"),
        (lambda a, x, o: a(x, x, x, [[1]]), "mask is no tensor"),
        (lambda a, x, o: a(x, x, x[:, :3]), "keys and values are of different rows"),
        (lambda a, x, o: a(x[0], x[0], x[0]), "query does not fit"),
        (lambda a, x, o: a(x, x[:1], x[:1]), "key does not fit"),
        (lambda a, x, o: a(x[..., :5], x, x), "query does not fit"),
    ],
)
def test_calls_that_are_refused(attention, call, message):
    with pytest.raises(UserError, match=message):
        call(attention, rows(), torch.ones(1, LENGTH, LENGTH))


@pytest.mark.parametrize("cls", COMPARING)
def test_positions_of_two_sequences_are_not_compared(cls):
    x, memory = rows(), rows(5, seed=2)
    with pytest.raises(UserError, match=f"{cls.__name__} compares positions of one sequence"):
        made(cls)(x, memory, memory)


def test_masks_over_another_sequence_are_padding():
    attention, x, memory = made(AbsoluteMultiHeadedAttention), rows(), rows(seed=2)
    with pytest.raises(UserError, match="the keys are not the query"):
        attention(x, memory, memory, torch.ones(1, LENGTH, LENGTH).tril())


def test_tables_have_an_end():
    x = rows(10)
    attention = made(RelativeGlobalAttention)
    with pytest.raises(UserError, match="expected at most 9 rows, padding apart; found 10"):
        attention(x, x, x)
    shown = padding(1, 0, length=10)
    shown[0, 9:] = False
    assert attention(x, x, x, shown).isfinite().all()  # nine that are no padding
    attention = made(RelativeMultiHeadAttention)  # clipped
    assert attention(x, x, x).shape == x.shape


@pytest.mark.parametrize("cls", CLASSES)
def test_mistakes_in_constructors_are_explained(cls):
    known = list(inspect.signature(cls.__init__).parameters)[1:-1]
    assert known[:2] == ["n_heads", "d_model"] and "dropout" in known
    for fields, message in (
        ({"n_heads": 4, "d_model": 32, "dropuot": 0.1}, "write dropout"),
        ({"n_heads": 4, "d_model": 32, "chunk_size": 2}, f"one of {', '.join(known)}"),
        ({"n_heads": 3, "d_model": 32}, "a divisor of 32"),
        ({"n_heads": 4, "d_model": "32"}, "expected integer"),
        ({"n_heads": 4, "d_model": 32, "dropout": 1.5}, "less than 1"),
    ):
        with pytest.raises(UserError, match=message):
            cls(**fields)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if "max_len" in CLASSES[cls]])
def test_places_are_arguments(cls):
    with pytest.raises(UserError, match="FX0206 max_len"):
        cls(HEADS, WIDTH, max_len=0)


def test_every_public_class_is_tested():
    public = {getattr(flexit.attention, name) for name in flexit.attention.__all__}
    assert public == {*CLASSES, AbstractAttention, MultiHeadedAttention}
