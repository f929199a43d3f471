"""Learning rate and decay by name and role: who is in which group, and the updates that come of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flexit.errors import RunConfigError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.train.optimisation.groups import ParameterGroup
from flexit.runtime.train.optimisation.optim import make_optimizer
from flexit.runtime.train.optimizers.adamw import AdamW
from flexit.runtime.train.optimizers.muon import Muon
from flexit.runtime.train.optimizers.sgd import Sgd
from flexit.runtime.train.run import make_plan, train
from flexit.runtime.train.update.loss import CrossEntropy
from flexit.runtime.train.update.step import accumulate


def model() -> FlexitModule:
    return to_torch(load_spec("tiny-llama", sets=["blocks.embed.vocab_size=50"]), seed=3)


def settings(over: FlexitModule, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """Learning rate and decay of every parameter."""
    names = {id(p): name for name, p in over.named_parameters()}
    found = {
        names[id(p)]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]
    }
    assert found.keys() == set(names.values())
    return found


GROUPS: list[ParameterGroup] = [
    ParameterGroup(match="decoder.layers.0.*", role="gain", weight_decay=0.5),
    ParameterGroup(match="decoder.layers.0.*", lr_factor=0.1),
    ParameterGroup(match="decoder.layers.*.attention.*", lr_factor=2.0, weight_decay=0.0),
    ParameterGroup(role="embedding", lr_factor=3.0),
]


def wanted(name: str) -> tuple[float, float]:
    """What the groups mean, worked out by hand."""
    matrix = "norm" not in name
    if name.startswith("decoder.layers.0."):
        return (1e-4, 0.1) if matrix else (1e-3, 0.5)
    if name.startswith("decoder.layers.") and ".attention." in name:
        return 2e-3, 0.0
    if name == "embed.tokens.weight":
        return 3e-3, 0.1
    return 1e-3, 0.1 if matrix else 0.0


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_the_first_entry_that_means_a_parameter_counts(kind: Any):
    over = model()
    found = settings(over, make_optimizer(over, over.program, kind(lr=1e-3, weight_decay=0.1, groups=GROUPS)))
    assert {name: pytest.approx(wanted(name)) for name in found} == found
    assert len(set(found.values())) == 6


@pytest.mark.parametrize("kind", [AdamW, Muon])
@pytest.mark.parametrize("groups", [GROUPS, [ParameterGroup(match="*.layers.*", lr_factor=0.1)]])
def test_what_no_entry_means_comes_first(kind: Any, groups: list[ParameterGroup]):
    over = model()
    optimizer = make_optimizer(over, over.program, kind(lr=1e-3, groups=groups))
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_updates_are_as_large_as_the_factor_says():
    """One step of plain descent: each parameter moves by its own rate times its gradient."""
    over = model()
    first = {name: p.detach().clone() for name, p in over.named_parameters()}
    config = Sgd(lr=0.1, groups=[ParameterGroup(match="*.up_proj.weight", lr_factor=0.25)])
    optimizer = make_optimizer(over, over.program, config)
    ids = torch.randint(0, 50, (2, 8), generator=torch.Generator().manual_seed(0))
    accumulate(over, CrossEntropy(), [{"input_ids": ids, "labels": ids}])
    optimizer.step()
    for name, p in over.named_parameters():
        assert p.grad is not None
        rate = 0.025 if name.endswith("up_proj.weight") else 0.1
        assert torch.allclose(p, first[name] - rate * p.grad, atol=1e-7), name
        assert not torch.equal(p, first[name])


def test_the_schedule_scales_every_group(write_config: Callable[..., Path]):
    rates: list[list[float]] = []

    from flexit.runtime.train.callbacks.callback import Callback

    class Rates(Callback):
        def after_step(self, trainer: Any, step: Any) -> None:
            rates.append([group["lr"] for group in trainer.optimizer.param_groups])
            assert step.lr == rates[-1][0]

    config = write_config(optimizer="{kind: adamw, groups: [{role: embedding, lr_factor: 0.5}]}")
    train(config, callbacks=[Rates()], progress=False)
    assert len(rates) == 12 and len(rates[0]) == 3
    assert all(row[1] == row[0] and row[2] == pytest.approx(0.5 * row[0]) for row in rates)
    assert rates[0][0] == pytest.approx(1e-3 / 3)
    assert rates[11][0] == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("groups", "texts"),
    [
        ("[{match: decoder.layer.*}]", ("optimizer.groups[0]: means no parameter", "found match: decoder.layer.*")),
        ("[{role: score_bias}]", ("optimizer.groups[0]: means no parameter", "found role: score_bias")),
        ("[{match: head.*, role: embedding}]", ("found match: head.*, role: embedding",)),
        (
            "[{match: 'decoder.*'}, {match: 'decoder.layers.*'}]",
            ("optimizer.groups[1]: earlier entries have every parameter", "do: move it before them"),
        ),
        ("[{match: embed.tokens.wieght}]", ("such as embed.tokens.weight",)),
    ],
)
def test_an_entry_that_means_nothing_is_refused(write_config: Callable[..., Path], groups: str, texts: tuple[str, ...]):
    with pytest.raises(RunConfigError) as caught:
        make_plan(write_config(optimizer=f"{{kind: adamw, groups: {groups}}}"))
    assert [problem.code for problem in caught.value.problems] == ["FX1522"]
    assert "run.yaml:15:" in str(caught.value)
    for text in texts:
        assert text in str(caught.value)
