"""Sessions and evaluations leave a module, and each of its parts, in the mode that it was in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from flexit.errors import TaskError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.modes import evaluating
from flexit.runtime.sessions.torch_session import TorchSession
from tests.runtime.train.plain import Small, batches, trainer


def frozen(module: nn.Module) -> None:
    """In training mode but for one part."""
    module.train()
    list(module.modules())[2].eval()


def one_part(module: nn.Module) -> None:
    """In evaluation mode but for one part."""
    module.eval()
    list(module.modules())[2].train()


MODES: list[Callable[[nn.Module], object]] = [nn.Module.train, nn.Module.eval, frozen, one_part]


def modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


@pytest.fixture(scope="module")
def model() -> FlexitModule:
    return to_torch(load_spec("tiny-llama", sets=["blocks.decoder.n_layers=1", "blocks.decoder.layer.dropout=0.5"]))


@pytest.mark.parametrize("set_mode", MODES)
def test_a_session_runs_without_dropout_and_puts_back(model: FlexitModule, set_mode: Callable[[nn.Module], object]):
    set_mode(model)
    before, session = modes(model), TorchSession(model)
    session.start({"input_ids": [[1, 2]]})
    whole = session.run({"input_ids": [[1, 2, 3]]})["logits"]
    assert np.allclose(session.step([[3]]), whole[:, -1:], atol=1e-5)
    assert modes(model) == before
    with pytest.raises(TaskError):
        session.run({"input_ids": [[10**6]]})
    assert modes(model) == before


@pytest.mark.parametrize("set_mode", MODES)
def test_an_evaluation(set_mode: Callable[[nn.Module], object]):
    run = trainer(batches(2), held_out=batches(2), evaluate={"every": 1})
    set_mode(run.model)
    before = modes(run.model)
    assert run.evaluate() == run.evaluate()
    assert modes(run.model) == before


def test_no_mode_is_set_where_none_is_training():
    """As in each step of a generation."""

    class Watched(Small):
        def train(self, mode: bool = True) -> Watched:
            calls.append(mode)
            return super().train(mode)

    calls: list[bool] = []
    module = Watched()
    with evaluating(module):
        assert not any(modes(module))
    assert calls == [False, True]
    module.eval()
    calls.clear()
    with evaluating(module):
        pass
    assert calls == []
