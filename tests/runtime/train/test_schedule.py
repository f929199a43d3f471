"""Learning-rate factors at their corners, against PyTorch and transformers where they have the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from flexit.errors import UserError
from flexit.ir import registry
from flexit.runtime.train.optimisation.schedule import Schedule, require_room
from flexit.runtime.train.schedules.constant import Constant
from flexit.runtime.train.schedules.cosine import Cosine
from flexit.runtime.train.schedules.inverse_sqrt import InverseSqrt
from flexit.runtime.train.schedules.linear import Linear
from flexit.runtime.train.schedules.wsd import Wsd

STEPS = 60


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def rates(scheduler: Any, steps: int = STEPS) -> list[float]:
    """The factors of another library, from that of the update after its first: its warm-up begins with 0."""
    found: list[float] = []
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


def factors(schedule: Schedule, steps: int = STEPS) -> list[float]:
    return [schedule.factor(step, steps) for step in range(steps)]


@pytest.mark.parametrize(
    "schedule", [Constant(warmup=10), Linear(warmup=10), Cosine(warmup=10), Wsd(warmup=10), InverseSqrt(warmup=10)]
)
def test_the_warm_up_is_a_straight_line_to_one(schedule: Schedule):
    assert [schedule.factor(step, 100) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule.factor(10, 100) <= 1.0


def test_the_last_step_has_the_last_factor():
    assert Constant().factor(99, 100) == 1.0
    assert Linear(final=0.25).factor(99, 100) == pytest.approx(0.25)
    assert Cosine(warmup=20, final=0.1).factor(99, 100) == pytest.approx(0.1)
    assert Cosine(final=0.1).factor(49, 100) == pytest.approx(0.55)
    assert Wsd(final=0.2, shape="one_minus_sqrt").factor(99, 100) == pytest.approx(0.2)


def test_cosine_and_linear_are_those_of_pytorch():
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer(), T_max=STEPS, eta_min=0.2)
    assert factors(Cosine(final=0.2)) == pytest.approx(rates(cosine))
    linear = torch.optim.lr_scheduler.LinearLR(optimizer(), start_factor=1.0, end_factor=0.3, total_iters=STEPS)
    assert factors(Linear(final=0.3)) == pytest.approx(rates(linear))


# That of transformers lets a warm-up of wsd begin at its last factor: those with one have none, and the reverse.
REFERENCES: dict[str, tuple[Schedule, str, dict[str, Any]]] = {
    "constant": (Constant(warmup=7), "get_constant_schedule_with_warmup", {"num_warmup_steps": 7}),
    "linear": (
        Linear(warmup=7), "get_linear_schedule_with_warmup", {"num_warmup_steps": 7, "num_training_steps": STEPS},
    ),
    "cosine": (
        Cosine(warmup=7, final=0.0), "get_cosine_schedule_with_warmup",
        {"num_warmup_steps": 7, "num_training_steps": STEPS},
    ),
    "cosine to a tenth": (
        Cosine(warmup=7), "get_cosine_with_min_lr_schedule_with_warmup",
        {"num_warmup_steps": 7, "num_training_steps": STEPS, "min_lr_rate": 0.1},
    ),
    "wsd, a line": (
        Wsd(decay=20, final=0.1), "get_wsd_schedule",
        {"num_warmup_steps": 0, "num_decay_steps": 20, "num_training_steps": STEPS, "min_lr_ratio": 0.1,
         "decay_type": "linear"},
    ),
    "wsd, a wave": (
        Wsd(decay=20, final=0.1, shape="cosine"), "get_wsd_schedule",
        {"num_warmup_steps": 0, "num_decay_steps": 20, "num_training_steps": STEPS, "min_lr_ratio": 0.1,
         "decay_type": "cosine"},
    ),
    "wsd, a root": (
        Wsd(warmup=7, decay=20, shape="one_minus_sqrt"), "get_wsd_schedule",
        {"num_warmup_steps": 7, "num_decay_steps": 20, "num_training_steps": STEPS, "decay_type": "1-sqrt"},
    ),
    "inverse_sqrt": (InverseSqrt(warmup=7), "get_inverse_sqrt_schedule", {"num_warmup_steps": 7}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCES)
def test_schedules_are_those_of_transformers(name: str):
    from transformers import optimization

    schedule, function, settings = REFERENCES[name]
    make: Callable[..., Any] = getattr(optimization, function)
    assert factors(schedule) == pytest.approx(rates(make(optimizer(), **settings)), abs=1e-12)


def test_every_schedule_has_a_reference():
    assert {schedule.kind for schedule, _, _ in REFERENCES.values()} == set(registry.names(Schedule))


def test_inverse_sqrt_is_equation_3_of_the_paper():
    width, warmup = 512, 20
    peak = (width * warmup) ** -0.5
    paper = [width**-0.5 * min(t**-0.5, t * warmup**-1.5) for t in range(1, STEPS + 1)]
    assert [peak * value for value in factors(InverseSqrt(warmup=warmup))] == pytest.approx(paper)


def test_wsd_decays_for_a_tenth_unless_told():
    found = factors(Wsd(), 95)
    assert found[:85] == [1.0] * 85
    assert found[85] == pytest.approx(0.9)
    assert found[94] == 0.0
    assert math.isclose(factors(Wsd(decay=40, shape="one_minus_sqrt"), 95)[64], 1 - 0.5)


def test_a_warm_up_needs_room():
    with pytest.raises(UserError, match="as long as the run") as caught:
        require_room(Linear(warmup=50), 50)
    assert caught.value.code == "FX1507"


def test_a_decay_needs_room_after_the_warm_up():
    require_room(Wsd(warmup=30, decay=20), 50)
    with pytest.raises(UserError, match=r"(?s)FX1507 schedule\.decay.*at most 20, .*found 21") as caught:
        require_room(Wsd(warmup=30, decay=21), 50)
    assert caught.value.code == "FX1507"
    assert "set schedule.decay to 20 or less" in str(caught.value)
