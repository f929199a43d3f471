"""Learning-rate factors at their corners, against PyTorch where it has the same."""

from __future__ import annotations

import pytest
import torch

from flexit.errors import UserError
from flexit.runtime.train.config import Constant, Cosine, Linear, Schedule
from flexit.runtime.train.schedule import factor, require_room


@pytest.mark.parametrize("schedule", [Constant(warmup=10), Linear(warmup=10), Cosine(warmup=10)])
def test_the_warm_up_is_a_straight_line_to_one(schedule: Schedule):
    assert [factor(schedule, step, 100) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert factor(schedule, 10, 100) <= 1.0


def test_the_last_step_has_the_last_factor():
    assert factor(Constant(), 99, 100) == 1.0
    assert factor(Linear(final=0.25), 99, 100) == pytest.approx(0.25)
    assert factor(Cosine(warmup=20, final=0.1), 99, 100) == pytest.approx(0.1)
    assert factor(Cosine(final=0.1), 49, 100) == pytest.approx(0.55)


def test_cosine_is_that_of_pytorch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.2)
    for step in range(50):
        optimizer.step()
        reference.step()
        assert factor(Cosine(final=0.2), step, 50) == pytest.approx(reference.get_last_lr()[0])


def test_linear_is_that_of_pytorch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.3, total_iters=40)
    for step in range(40):
        optimizer.step()
        reference.step()
        assert factor(Linear(final=0.3), step, 40) == pytest.approx(reference.get_last_lr()[0])


def test_a_warm_up_needs_room():
    with pytest.raises(UserError, match="as long as the run") as caught:
        require_room(Linear(warmup=50), 50)
    assert caught.value.code == "FX1507"
