"""Every preset in miniature goes the whole way: trained, exported, proven, verified, decoded in both runtimes."""

import numpy as np
import pytest
import torch

from flexit.ir.io.load import presets
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.grid import Case, inputs_for
from tests.canaries.key_bias import moves_nothing
from tests.fuzz.whole_way import tensors, whole_way
from tests.miniature import miniature
from tests.stressed import stressed


def test_windows_are_short():
    spec = miniature("gemma3-1b")
    assert spec.node is not None
    assert "'window': 5" in str(spec.node.plain())


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("name", presets())
def test_goes_the_whole_way(name, tmp_path):
    spec = miniature(name)
    outcome = whole_way(spec, tmp_path / "bundle").word
    assert outcome == ("proven" if to_torch(spec, device="meta").program.decoded is None else "generated")


@pytest.mark.slow
@pytest.mark.parametrize("name", presets())
def test_a_training_step_reaches_every_parameter(name):
    spec = miniature(name)
    module = stressed(spec).train()
    torch.manual_seed(0)
    outputs = module(**tensors(inputs_for(module.program, Case(6, 9, 0), np.random.default_rng(7))))
    sum((torch.randn_like(value) * value).sum() for value in outputs.values()).backward()
    for path, parameter in module.named_parameters():
        assert parameter.grad is not None, path
        assert torch.isfinite(parameter.grad).all(), path
        assert parameter.grad.abs().sum() > 0 or moves_nothing(spec, path), path
