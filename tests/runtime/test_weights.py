"""Weights are taken whole or refused: a parameter that is missing, unknown or of another shape is named."""

import numpy as np
import pytest
import torch

from flexit.errors import UserError
from flexit.ir.io.load import load_spec
from flexit.lower.onnx.model import to_onnx
from flexit.lower.torch.module import to_torch

SPEC = load_spec("tiny-llama")
Weights = dict[str, np.ndarray]
SPOILT = {
    "missing": (lambda weights: weights.pop("decoder.final_norm.weight"), "decoder.final_norm.weight"),
    "unknown": (lambda weights: weights.update({"decoder.bias": np.zeros(3, np.float32)}), "decoder.bias"),
    "another shape": (
        lambda weights: weights.update({"decoder.final_norm.weight": np.zeros(3, np.float32)}),
        "decoder.final_norm.weight",
    ),
}


@pytest.fixture
def weights() -> Weights:
    """Random weights of the spec."""
    return {name: value.detach().numpy().copy() for name, value in to_torch(SPEC, seed=3).named_parameters()}


@pytest.mark.parametrize("how", SPOILT)
def test_refused_by_pytorch(how: str, weights: Weights):
    spoil, path = SPOILT[how]
    spoil(weights)
    with pytest.raises(UserError) as caught:
        to_torch(SPEC, {name: torch.from_numpy(value) for name, value in weights.items()})
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [("FX2002", path)]


@pytest.mark.parametrize("how", SPOILT)
def test_refused_by_onnx_with_nothing_written(how: str, weights: Weights, tmp_path):
    spoil, path = SPOILT[how]
    spoil(weights)
    with pytest.raises(UserError) as caught:
        to_onnx(SPEC, weights, tmp_path / "out")
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [("FX2002", path)]
    assert not list(tmp_path.rglob("*.onnx*"))


def test_every_problem_is_told(weights: Weights):
    for spoil, _ in (SPOILT["missing"], SPOILT["unknown"]):
        spoil(weights)
    with pytest.raises(UserError) as caught:
        to_torch(SPEC, {name: torch.from_numpy(value) for name, value in weights.items()})
    assert {problem.path for problem in caught.value.problems} == {"decoder.final_norm.weight", "decoder.bias"}


def test_what_is_taken_comes_back_the_same(weights: Weights):
    module = to_torch(SPEC, {name: torch.from_numpy(value) for name, value in weights.items()})
    assert {name: value.numpy().tobytes() for name, value in module.state_dict().items()} == {
        name: value.tobytes() for name, value in weights.items()
    }


def test_another_target_is_refused(weights: Weights, tmp_path):
    with pytest.raises(UserError, match="FX2004"):
        to_onnx(SPEC, weights, tmp_path / "out", target="ort")  # pyright: ignore[reportArgumentType]
