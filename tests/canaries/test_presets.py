"""Every preset in miniature goes the whole way: trained, exported, proven, verified, decoded in both runtimes."""

import json

import numpy as np
import pytest
import torch

from flexit.ir.io.load import load_spec, parse_spec, presets
from flexit.ir.shrink import shrink
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.grid import Case, inputs_for
from flexit.runtime.proof.stress import stress_weights
from tests.fuzz.test_whole_way import tensors, whole_way

WINDOW = 5
"""Below the lengths that proofs run, so that windows are seen."""


def miniature(name: str) -> Spec:
    spec = shrink(load_spec(name))
    assert spec.node is not None
    return parse_spec(json.dumps(narrowed(spec.node.plain())))


def narrowed(data):
    if isinstance(data, dict):
        return {key: WINDOW if key == "window" else narrowed(value) for key, value in data.items()}
    return [narrowed(value) for value in data] if isinstance(data, list) else data


def test_windows_are_short():
    assert "'window': 5" in str(miniature("gemma3-1b").node.plain())


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("name", presets())
def test_goes_the_whole_way(name, tmp_path):
    spec = miniature(name)
    outcome = whole_way(spec, tmp_path / "bundle")
    assert outcome == ("proven" if to_torch(spec, device="meta").program.decoded is None else "generated")


@pytest.mark.parametrize("name", presets())
def test_a_training_step_reaches_every_parameter(name):
    spec = miniature(name)
    module = to_torch(spec, stress_weights(to_torch(spec, device="meta").program)).train()
    torch.manual_seed(0)
    outputs = module(**tensors(inputs_for(module.program, Case(6, 9, 0), np.random.default_rng(7)), torch.float32))
    sum((torch.randn_like(value) * value).sum() for value in outputs.values()).backward()
    for path, parameter in module.named_parameters():
        assert parameter.grad is not None, path
        assert torch.isfinite(parameter.grad).all(), path
        # a bias of keys moves every score of a query alike, and softmax does not see it
        assert parameter.grad.abs().sum() > 0 or path.endswith("k_proj.bias"), path
