"""The callbacks that a training config asks for, in the order in which they are called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.callbacks.checkpoints import Checkpoints
from flexit.runtime.train.callbacks.early_stopping import EarlyStopper
from flexit.runtime.train.callbacks.evaluation import Evaluation
from flexit.runtime.train.callbacks.metrics import Metrics
from flexit.runtime.train.callbacks.progress import ProgressBar
from flexit.runtime.train.callbacks.starts import Starts
from flexit.runtime.train.callbacks.statistics import Statistics
from flexit.runtime.train.callbacks.time_limit import TimeLimit
from flexit.runtime.train.callbacks.tracking import Tracking
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.resources.device import pick_device
from flexit.runtime.train.resources.work import Work, known_peak


def standard(config: TrainingConfig, out: Path | None) -> tuple[list[Callback], list[Callback]]:
    """Those before the user's own and those after, as :class:`Callback` tells their order.

    Args:
        config: of the trainer.
        out: its run folder, if it has one.
    """
    return list(_before(config, out)), list(_after(config, out))


def _before(config: TrainingConfig, out: Path | None) -> Iterator[Callback]:
    work, peak = Work(), config.log.peak_flops or known_peak(pick_device(config.device), config.precision)
    if out is not None:
        tracking = Tracking(out, config.track) if config.track else None
        if tracking is not None:
            yield tracking
        yield Metrics(
            out, every=config.log.every, work=work, peak=peak, told=None if tracking is None else tracking.line
        )
    if config.progress:
        yield ProgressBar(work=work, peak=peak)
    if config.evaluate is not None:
        yield Evaluation(every=config.evaluate.every, max_batches=config.evaluate.max_batches)
    if config.early_stopping is not None:
        stop = config.early_stopping
        yield EarlyStopper(patience=stop.patience, min_delta=stop.min_delta, metric=stop.metric)


def _after(config: TrainingConfig, out: Path | None) -> Iterator[Callback]:
    if out is not None:
        yield Checkpoints(config.checkpoint)
    if out is not None and config.statistics is not None:
        yield Statistics(out, every=config.statistics.every)
    if config.limit is not None:
        yield TimeLimit(config.limit.minutes)
    if out is not None:
        yield Starts(out)
