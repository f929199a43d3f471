"""Masks by class: what could be read in two ways is refused, and modes reach what is no child."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flexit.attention import AbsoluteMultiHeadedAttention, RotaryMultiHeadAttention
from flexit.errors import UserError
from flexit.models import FlexiBERT, FlexiGPT
from flexit.runtime.modes import evaluating

SMALL = {"d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 1}
LENGTH = 4


def square(seed: int = 1) -> torch.Tensor:
    """As many rows as each is long."""
    return torch.randn(LENGTH, LENGTH, 8, generator=torch.Generator().manual_seed(seed))


def causal() -> torch.Tensor:
    return torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()


@pytest.mark.parametrize("cls", [AbsoluteMultiHeadedAttention, RotaryMultiHeadAttention])
@pytest.mark.parametrize("mask", [causal(), causal().float(), causal() & causal().flip(0)])
def test_a_square_mask_of_as_many_rows_is_refused_where_it_may_mean_two_things(cls, mask):
    attention, x = cls(2, 8).eval(), square()
    with pytest.raises(UserError, match=r"FX2001 mask: mask may be of padding or of causality") as caught:
        attention(x, x, x, mask)
    assert "[4, 1, 4] for padding, or [1, 4, 4] for pairs" in str(caught.value)


def test_what_is_said_in_its_place_is_understood():
    attention, x, mask = AbsoluteMultiHeadedAttention(2, 8).eval(), square(), causal()
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    state = attention.state_dict()
    theirs.load_state_dict({
        "in_proj_weight": torch.cat([state[f"{part}_proj.weight"] for part in "qkv"]),
        "in_proj_bias": torch.cat([state[f"{part}_proj.bias"] for part in "qkv"]),
        "out_proj.weight": state["o_proj.weight"], "out_proj.bias": state["o_proj.bias"],
    })  # fmt: skip
    assert torch.allclose(attention(x, x, x, mask[None]), theirs(x, x, x, attn_mask=~mask)[0], atol=1e-6)
    padded = theirs(x, x, x, key_padding_mask=~mask)[0]
    assert torch.allclose(attention(x, x, x, mask[:, None]), padded, atol=1e-6)
    left = mask.flip(1)  # rows padded on the left look like no causality
    assert torch.equal(attention(x, x, x, left), attention(x, x, x, left[:, None]))
    x, one = x[:1], torch.ones(1, LENGTH)
    assert torch.equal(attention(x, x, x, one), attention(x, x, x))


@pytest.mark.parametrize("cls", [FlexiGPT, FlexiBERT])
def test_models_refuse_the_same(cls):
    model = cls(**{"tgt_vocab" if cls is FlexiGPT else "src_vocab": 9}, **SMALL).eval()
    ids, name = torch.ones(LENGTH, LENGTH, dtype=torch.int64), "tgt_mask" if cls is FlexiGPT else "src_mask"
    with pytest.raises(UserError, match=f"{name} may be of padding or of causality"):
        model(ids, causal())
    with pytest.raises(UserError, match=f"write {name} == 0 for a mask that is added"):
        model(ids, torch.zeros(LENGTH, 1, LENGTH).masked_fill(~causal()[:, None], -torch.inf))
    assert model(ids, causal()[:, None]).isfinite().all()


@pytest.mark.parametrize("hidden", [-torch.inf, -10000.0, torch.finfo(torch.float32).min, 0.5, torch.nan])
def test_masks_that_are_added_to_scores_are_refused(hidden):
    attention, x, memory = AbsoluteMultiHeadedAttention(2, 8).eval(), square(), square(2)
    mask = torch.zeros(1, LENGTH, LENGTH).masked_fill(~causal(), hidden)
    with pytest.raises(UserError, match=r"mask has numbers that are neither 0 nor 1") as caught:
        attention(x, x, x, mask)
    assert f"found {hidden:g}" in str(caught.value) and "write mask == 0" in str(caught.value)
    with pytest.raises(UserError, match="neither 0 nor 1"):
        attention(x, memory, memory, mask[:, :1])
    if hidden < 0:
        assert torch.equal(attention(x, x, x, mask == 0), attention(x, x, x, causal()[None]))


@pytest.mark.parametrize(
    ("given", "named", "twice"),
    [
        (2, {"tgt": 1}, "tgt"), (1, {"src": 1}, "tgt"), (0, {"src": 1, "tgt": 1}, "tgt"),
        (2, {"mask": 1}, "tgt_mask"), (2, {"tgt_mask": 1}, "tgt_mask"), (1, {"mask": 1, "tgt_mask": 1}, "tgt_mask"),
    ],
)  # fmt: skip
def test_an_input_is_given_once(given, named, twice):
    model = FlexiGPT(tgt_vocab=9, **SMALL)
    ones = torch.ones(1, LENGTH, dtype=torch.int64)
    with pytest.raises(UserError, match=f"FX2001: these are not the inputs of the model\n.*; found {twice} twice"):
        model(*[ones] * given, **dict.fromkeys(named, ones))


class Parent(nn.Module):
    """An attention in another mode than the module around it."""

    def __init__(self):
        super().__init__()
        self.attention = AbsoluteMultiHeadedAttention(2, 8, dropout=0.5)


def test_modes_that_were_set_part_by_part_are_those_of_the_forms():
    parent, x, memory = Parent(), square(), square(2)
    attention = parent.attention.eval()
    whole, across = attention(x, x, x), attention(x, memory, memory)
    assert parent.training
    with evaluating(parent):
        pass
    assert parent.training and not attention.training
    assert torch.equal(attention(x, x, x), whole) and torch.equal(attention(x, memory, memory), across)
    attention.train()
    attention.q_proj.eval()
    attention.training = False
    assert torch.equal(attention(x, x, x), whole)
    attention.training = True
    assert not torch.equal(attention(x, x, x), whole) and not torch.equal(attention(x, memory, memory), across)
    assert not attention.q_proj.training
