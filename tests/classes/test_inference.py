"""Decoding by class against a loop over whole rows, without a cache."""

from __future__ import annotations

import pytest
import torch

from flexit.errors import UserError
from flexit.inference import greedy_decode, sample_decode
from flexit.models import FlexiBERT, FlexiGPT, TransformerModel

SMALL = {"d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 1, "max_seq_len": 24}
SRC = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
SRC_MASK = (SRC != 0)[:, None]


def translator(**fields: object) -> TransformerModel:
    torch.manual_seed(0)
    return spread(TransformerModel(src_vocab=30, tgt_vocab=20, **SMALL, **fields))


def gpt(**fields: object) -> FlexiGPT:
    torch.manual_seed(0)
    return spread(FlexiGPT(tgt_vocab=20, **SMALL, **fields))


def spread(model):
    """Weights under which what is read matters."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


@torch.no_grad()
def by_hand(model, max_len, *, src=None, src_mask=None, begun):
    """A row at a time, in evaluation mode, each step from the whole row."""
    model.eval()
    ids = begun
    while ids.shape[1] < max_len:
        scores = model(ids) if src is None else model(src, ids, src_mask)
        ids = torch.cat([ids, scores[:, -1].argmax(-1, keepdim=True)], 1)
    return ids


@pytest.mark.parametrize("pe_type", ["absolute", "rotary", "alibi"])
def test_targets_follow_their_sources(pe_type):
    model = translator(pe_type=pe_type).train()
    frozen = list(model.modules())[2].eval()
    found = greedy_decode(model, SRC, SRC_MASK, 9, 1)
    assert model.training and not frozen.training
    wanted = by_hand(model, 9, src=SRC, src_mask=SRC_MASK, begun=torch.ones(2, 1, dtype=torch.int64))
    assert torch.equal(found, wanted)
    assert len(set(found[:, 1:].flatten().tolist())) > 1
    assert not torch.equal(found, greedy_decode(model, SRC, None, 9, 1))  # without a mask padding is read


def test_a_decoder_goes_on():
    model = gpt()
    assert torch.equal(greedy_decode(model, None, None, 8, 1), by_hand(model, 8, begun=torch.tensor([[1]])))
    begun = torch.tensor([[3, 4, 5], [0, 6, 7]])
    found = greedy_decode(model, begun, begun != 0, 9, 1)
    assert torch.equal(found[0], by_hand(model, 9, begun=begun[:1])[0])
    assert torch.equal(found[1, 1:], by_hand(model, 8, begun=begun[1:, 1:])[0])


def test_rows_end():
    model = translator()
    free = greedy_decode(model, SRC, SRC_MASK, 12, 1)
    end = int(free[0, 3])
    found = greedy_decode(model, SRC, SRC_MASK, 12, 1, end)
    for row, other in zip(found.tolist(), free.tolist(), strict=True):
        stop = other.index(end, 1) + 1 if end in other[1:] else len(other)
        assert row == (other[:stop] + [0] * (len(row) - stop))[: len(row)]
    assert found.shape[1] <= free.shape[1]


def test_tokens_are_drawn_as_the_seed_of_pytorch_says():
    model, rows = gpt(), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        rows.append(sample_decode(model, None, None, 12, 1, temperature=2.0))
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    assert torch.equal(sample_decode(model, None, None, 12, 1, top_k=1), greedy_decode(model, None, None, 12, 1))
    assert torch.equal(sample_decode(model, None, None, 12, 1, top_p=1e-6), greedy_decode(model, None, None, 12, 1))


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: greedy_decode(FlexiBERT(src_vocab=20, **SMALL), SRC, None, 5, 1), "FX2001"),
        (lambda: greedy_decode(torch.nn.Linear(2, 2), SRC, None, 5, 1), "FX2001"),
        (lambda: greedy_decode(translator(), None, None, 5, 1), "FX2001"),
        (lambda: greedy_decode(translator(), SRC, None, 1, 1), "FX2001"),
        (lambda: greedy_decode(gpt(pe_type="learned"), None, None, 26, 1), "FX2003"),
        (lambda: sample_decode(gpt(), None, None, 5, 1, temperature=-1.0), "FX2003"),
    ],
)
def test_what_cannot_be_decoded(call, code):
    with pytest.raises(UserError) as raised:
        call()
    assert raised.value.code == code
