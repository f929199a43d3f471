"""Choices too close to call: rows are drawn again, left out, counted, and too many of them fail the proof."""

import numpy as np
import pytest
import torch

from flexit.errors import ProofError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.export import export
from flexit.runtime.proof.margins import margins_of
from flexit.runtime.proof.prove import REDRAWS
from flexit.runtime.proof.stress import stress_weights


def test_margins_are_those_of_each_row_and_pads_do_not_count():
    spec = load_spec("tiny-moe")
    margins = margins_of(to_torch(spec, stress_weights(to_torch(spec).program)))
    ids, mask = np.array([[5, 6, 7], [8, 9, 1]]), np.array([[1, 1, 1], [0, 1, 1]])
    both = margins({"input_ids": ids, "attention_mask": mask})
    other_pad = margins({"input_ids": np.array([[5, 6, 7], [3, 9, 1]]), "attention_mask": mask})
    assert both.shape == (2, 2 * 3)  # two routers, three tokens
    assert (both > 0).all()
    assert np.allclose(both, other_pad)
    assert np.isinf(both[1]).sum() == 2
    alone = margins({"input_ids": ids[1:, 1:], "attention_mask": mask[1:, 1:]})
    assert both[1].min() == pytest.approx(alone[0].min(), rel=1e-3)


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


@pytest.mark.ort
def test_rows_that_are_drawn_again_are_counted(tmp_path, monkeypatch):
    """A tolerance that many rows miss shows the counting; what is left out stays below the limit or fails."""
    module = to_torch(load_spec("tiny-moe"), stress_weights(to_torch(load_spec("tiny-moe")).program))
    monkeypatch.setattr("flexit.runtime.proof.prove.TOLERANCE", {"fp32": 1e-3})
    monkeypatch.setattr("flexit.runtime.proof.prove.MOST_INCONCLUSIVE", 0.1)  # of tokens, at such a tolerance
    evidence = export(module, tmp_path / "bundle").manifest["evidence"]
    assert 0 < evidence["redrawn"] <= REDRAWS * evidence["sequences"]
    assert 0 < evidence["close"] < 0.01 * evidence["choices"]
    assert evidence["undecided"] <= 0.1 * evidence["sequences"]


@pytest.mark.ort
def test_many_choices_per_sequence_are_no_reason_to_refuse(tmp_path):
    """A sequence of 54 tokens makes thousands of choices here, of which some are always close."""
    sets = ["blocks.decoder.layer.feed_forward.n_experts=12", "blocks.decoder.layer.feed_forward.top_k=6"]
    spec = load_spec("tiny-moe", sets=sets)
    evidence = export(to_torch(spec, stress_weights(to_torch(spec).program)), tmp_path / "bundle").manifest["evidence"]
    assert evidence["redrawn"] > 0
