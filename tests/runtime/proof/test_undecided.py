"""Choices too close to call are an excuse only where the backends differ, and too many excuses fail the proof."""

import numpy as np
import pytest
import torch

from flexit.errors import ProofError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.export import export
from flexit.runtime.proof.margins import margins_of
from flexit.runtime.proof.prove import Subject, prove
from flexit.runtime.sessions.torch_session import TorchSession
from tests.stressed import stressed


def test_margins_are_those_of_each_row_and_pads_do_not_count():
    spec = load_spec("tiny-moe")
    margins = margins_of(stressed(spec))
    ids, mask = np.array([[5, 6, 7], [8, 9, 1]]), np.array([[1, 1, 1], [0, 1, 1]])
    both = margins({"input_ids": ids, "attention_mask": mask})
    other_pad = margins({"input_ids": np.array([[5, 6, 7], [3, 9, 1]]), "attention_mask": mask})
    assert both.shape == (2, 2 * 3)  # two routers, three tokens
    assert (both > 0).all()
    assert np.allclose(both, other_pad)
    assert np.isinf(both[1]).sum() == 2
    alone = margins({"input_ids": ids[1:, 1:], "attention_mask": mask[1:, 1:]})
    assert both[1].min() == pytest.approx(alone[0].min(), rel=1e-3)


def test_the_choice_of_groups_counts_and_what_groups_are_judged_by_does_not():
    router = "{score: none, after_top_k: softmax, normalize: false, groups: {n_groups: 2, top_k: 1, score: top2_sum}}"
    spec = load_spec("tiny-moe", sets=["blocks.decoder.layer.feed_forward.top_k=1",
                                       f"blocks.decoder.layer.feed_forward.router={router}"])  # fmt: skip
    found = margins_of(stressed(spec))(
        {"input_ids": np.array([[5, 6, 7]]), "attention_mask": np.ones((1, 3), np.int64)}
    )
    assert found.shape == (1, 2 * 2 * 3)  # in each of two routers, for each of three tokens: a group, an expert
    assert (found > 0).all()
    assert (found <= 2).all()  # relative to the largest score, whatever its sign


@pytest.mark.slow
@pytest.mark.ort
def test_a_flat_router_fails_the_export(tmp_path):
    module = to_torch(load_spec("tiny-moe"))
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if ".router." in name:
                parameter.zero_()
    with pytest.raises(ProofError, match=r"routing choices are too close to call"):
        export(module, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
@pytest.mark.ort
def test_where_both_agree_no_closeness_is_an_excuse(tmp_path):
    """A sequence of 54 tokens makes many choices here, of which some are always close; all are compared."""
    sets = ["blocks.decoder.layer.feed_forward.n_experts=12", "blocks.decoder.layer.feed_forward.top_k=6"]
    spec = load_spec("tiny-moe", sets=sets)
    evidence = export(stressed(spec), tmp_path / "bundle").manifest["evidence"]
    assert evidence["close"] > 0
    assert evidence["undecided"] == 0
    assert evidence["redrawn"] <= 0.01 * evidence["sequences"]


class Disturbed(TorchSession):
    """Gives other scores for rows whose first token is among some."""

    def __init__(self, module, tokens, by=0.1):
        super().__init__(module)
        self.tokens = tokens
        self.by = by

    def run(self, inputs):
        return {name: self._disturbed(array, inputs) for name, array in super().run(inputs).items()}

    def start(self, inputs):
        self.first = inputs
        return self._disturbed(super().start(inputs), inputs)

    def step(self, tokens, mask=None, *, others=None):
        return self._disturbed(super().step(tokens, mask, others=others), self.first)

    def _disturbed(self, scores, inputs):
        hit = np.isin(inputs["input_ids"][:, 0], self.tokens)
        return scores + np.where(hit, self.by, 0.0).reshape(-1, *(1,) * (scores.ndim - 1)) * np.abs(scores).max()


def proven(differ, close, by=0.1):
    """The evidence where rows that begin with some tokens differ, and those that begin with others are close."""
    spec = load_spec("tiny-llama", sets=["blocks.decoder.n_layers=1"])
    module = stressed(spec)
    subject = Subject(
        name="stress", weights={name: value.detach().numpy() for name, value in module.named_parameters()},
        reference=TorchSession(module), session=lambda optimised: Disturbed(module, differ, by),
        margins=lambda inputs: np.where(np.isin(inputs["input_ids"][:, :1], close), 0.0, [[1.0] * 200]),
    )  # fmt: skip
    return prove(module.program, [subject])


VOCABULARY = 128
"""Of the model above."""


@pytest.fixture
def lenient(monkeypatch):
    """Closeness is all or nothing in these fakes, and not what is tested."""
    monkeypatch.setattr("flexit.runtime.proof.prove._require_choices", lambda evidence: None)


def test_rows_that_agree_are_compared_however_close(lenient):
    evidence = proven(differ=[], close=range(VOCABULARY))
    assert evidence.close == evidence.choices > 0
    assert (evidence.redrawn, evidence.undecided) == (0, 0)
    assert all(row.tokens.compared > 0 for row in evidence.rows if row.run == "cached")


def test_rows_that_differ_and_are_close_are_drawn_again_and_counted(lenient):
    evidence = proven(differ=range(4), close=range(4))
    assert 0 < evidence.redrawn <= 0.05 * evidence.sequences
    assert evidence.undecided == 0
    assert evidence.error < 1e-5


def test_too_many_of_them_fail(lenient):
    with pytest.raises(ProofError, match="which does not explain so many"):
        proven(differ=range(30), close=range(30))


@pytest.mark.slow
def test_some_that_always_differ_fail(lenient, monkeypatch):
    monkeypatch.setattr("flexit.runtime.proof.prove.MOST_EXCUSED", 100.0)
    with pytest.raises(ProofError, match=r"to the last \(1 % may be left out\)"):
        proven(differ=range(VOCABULARY), close=range(VOCABULARY))


@pytest.mark.ort
def test_one_that_differs_and_is_not_close_fails():
    with pytest.raises(ProofError, match="ONNX Runtime differs from PyTorch by"):
        proven(differ=range(15), close=[])


@pytest.mark.ort
@pytest.mark.parametrize("by", [np.inf, np.nan])
def test_what_is_not_finite_is_never_excused(lenient, by):
    with pytest.raises(ProofError, match="ONNX Runtime differs from PyTorch by"):
        proven(differ=range(4), close=range(VOCABULARY), by=by)


def test_an_agreement_on_nothing_fails(monkeypatch):
    monkeypatch.setattr(
        "flexit.runtime.proof.compare.validity",
        lambda program, name, inputs: np.zeros_like(inputs["attention_mask"], np.bool_),
    )
    with pytest.raises(ProofError, match="no case has a position of output logits that is no padding"):
        proven(differ=[], close=[])


def test_a_row_that_rounding_explains_is_drawn_again(monkeypatch):
    """Rounding on both sides may take them apart by twice what it moves one of them, in one draw of many."""
    with pytest.raises(ProofError, match="ONNX Runtime differs from PyTorch by"):
        proven(differ=range(4), close=[], by=3e-4)
    made = [1e-6, 1e-5, 3e-4]
    monkeypatch.setattr(
        "flexit.runtime.proof.prove.moves",
        lambda program, weights, inputs, *, case, draws: (np.full(len(inputs["input_ids"]), each) for each in made),
    )
    evidence = proven(differ=range(4), close=[], by=3e-4)
    assert 0 < evidence.redrawn <= 0.05 * evidence.sequences
    assert evidence.error < 1e-5
    made[-1] = 1e-4
    with pytest.raises(ProofError, match="ONNX Runtime differs from PyTorch by"):
        proven(differ=range(4), close=[], by=3e-4)  # more than twice what rounding was seen to make
    made[-1] = 1.0
    with pytest.raises(ProofError, match="ONNX Runtime differs from PyTorch by"):
        proven(differ=range(4), close=[], by=3e-3)  # more than rounding may explain
