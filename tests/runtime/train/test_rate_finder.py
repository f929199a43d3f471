"""The sweep of learning rates: its rates, what it proposes, and that it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexit.cli.app import run
from flexit.errors import UserError
from flexit.runtime.train.rate_finder import find_rate, proposed, require_bounds, smoothed


def test_means_are_without_the_bias_of_their_beginning():
    losses = [3.0, 1.0, 4.0, 1.0, 5.0]
    for count in range(1, 6):
        weights = 0.9 ** np.arange(count)[::-1]
        assert smoothed(losses)[count - 1] == pytest.approx(np.average(losses[:count], weights=weights))


def test_the_steepest_rate_before_the_lowest():
    rates = list(np.geomspace(1e-6, 1, 200))
    losses = [5 - 3 / (1 + math.exp(-3 * math.log(rate / 1e-3))) + (50 * rate if rate > 0.03 else 0) for rate in rates]
    found = proposed(rates, losses, ended=True)
    assert found.proposed is not None
    assert 5e-4 < found.proposed < 4e-3  # the middle of the fall is at 1e-3, and the mean lags behind
    assert found.proposed < found.lowest < 0.2


def test_a_loss_that_does_not_fall_proposes_nothing():
    assert proposed([1e-3, 1e-2, 1e-1], [1.0, 2.0, 3.0], ended=False).proposed is None


@pytest.mark.parametrize("bounds", [(0.0, 1.0, 100), (1.0, 0.1, 100), (1e-5, math.inf, 100), (1e-5, 1.0, 5)])
def test_bounds_that_cannot_be(bounds: tuple[float, float, int]):
    with pytest.raises(UserError, match="FX1533"):
        require_bounds(*bounds)


@pytest.mark.parametrize("policy", ["skip", "rollback"])
def test_a_loss_that_is_no_number_ends_the_sweep(write_config: Callable[..., Path], policy: str):
    sgd = {"optimizer": "sgd", "clip_norm": "null", "schedule": "constant", "evaluate": ""}
    data = "{train: {kind: text, files: ['corpus/cmd.py']}, seq_len: 16, tokenizer: bpe}"
    path = write_config(**sgd, non_finite=policy, data=data, checkpoint="{every: 4}")
    sweep = find_rate(path, low=1e-2, high=1e300, steps=10, progress=False)
    assert sweep.ended
    assert all(map(math.isfinite, sweep.losses))
    assert len(sweep.rates) < 10


@pytest.mark.slow
def test_a_sweep_of_a_run(write_config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = write_config(ema="{decay: 0.9}", early_stopping="{patience: 1}", optimizer="{kind: adamw, lr: 3e-4}")
    before = sorted(tmp_path.rglob("*"))
    sweep = find_rate(path, low=1e-6, high=10.0, steps=40, progress=False)
    assert sorted(tmp_path.rglob("*")) == before
    assert sweep.rates == pytest.approx(np.geomspace(1e-6, 10, 40)[: len(sweep.rates)], rel=1e-9)
    assert sweep.proposed is not None
    assert 1e-4 < sweep.proposed < 1
    again = find_rate(path, low=1e-6, high=10.0, steps=40, progress=False)
    assert again.losses == sweep.losses
    for name in ("rates.csv", "rates.png"):
        assert run(["find-lr", str(path), "--steps", "12", "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 200
    assert "smoothed" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert run(["find-lr", str(path), "--out", "rates.txt"]) == 2
