"""Shows how far a run is: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.resources.work import Work

if TYPE_CHECKING:
    from flexit.runtime.train.failures.mishaps import Failure
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step

SMOOTHING = 0.95
"""Share of the old mean in the loss and rate that are shown."""


class ProgressBar(Callback):
    """Step, loss, tokens per second, time spent and left."""

    def __init__(
        self, console: Console | None = None, *, line_every: float = 10.0, work: Work | None = None,
        peak: float | None = None,
    ) -> None:  # fmt: skip
        self.console = console or Console(stderr=True)
        self.work = work or Work()
        self.peak = peak
        self.line_every = line_every
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._loss: float | None = None
        self._rate: float | None = None
        self._seconds: float | None = None
        self._made = 0
        self._then = 0.0
        self._last_line = 0.0

    def start(self, trainer: Trainer) -> None:
        self._then = self._last_line = time.monotonic()
        self._made = 0
        if trainer.step >= trainer.steps:
            self.say(f"step {trainer.step} of {trainer.steps} is done already; nothing to train")
        elif trainer.step:
            self.say(f"going on at step {trainer.step} of {trainer.steps}")
        if not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("training"), BarColumn(bar_width=None), MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
            console=self.console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("training", total=trainer.steps, completed=trainer.step, figures="", left="")
        self._bar.start()

    def after_step(self, trainer: Trainer, step: Step) -> None:
        now = time.monotonic()
        seconds, self._then = max(now - self._then, 1e-9), now
        self._loss = self._loss if step.skipped else _smooth(self._loss, step.loss)
        self._made += 1
        warm = self._made > 2  # the first step starts worker processes and compiles, which says nothing of the others
        self._rate = _smooth(self._rate if warm else None, step.tokens / seconds)
        self._seconds = _smooth(self._seconds if warm else None, seconds)
        left = f"{clock((trainer.steps - step.number) * self._seconds)} left"
        rate = f"{self._rate:,.0f} {_counted(step)}/s{self._effort(trainer, step)}"
        figures = f"smoothed loss {self._loss or math.nan:.3f}  {rate}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step.number, figures=figures, left=left)
        elif now - self._last_line >= self.line_every or step.number == trainer.steps:
            self._last_line = now
            self.say(f"step {step.number}/{trainer.steps}  {figures}  {left}")

    def _effort(self, trainer: Trainer, step: Step) -> str:
        """FLOP/s, and their share of what the device can do."""
        flops = self.work.of(trainer.model, step.shapes)
        if not flops or not self._seconds:
            return ""
        rate = flops / self._seconds
        share = "" if self.peak is None else f" ({rate / self.peak:.1%} of peak)"
        return f"  {rate / 1e9:,.1f} GFLOP/s{share}"

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        done = "left out" if failure.answer == "skip" else f"back at step {trainer.step}, on with other data"
        self.say(f"step {failure.step} is not finite, {done}: {failure.reason}")
        self._then = time.monotonic()

    def after_evaluation(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        told = "".join(f"  {each.name} {metrics[f'validation_{each.name}']:.4g}" for each in trainer.judge.metrics)
        self.say(f"step {trainer.step}  validation loss {trainer.validation_loss:.3f}{told}")
        self._then = time.monotonic()

    def after_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        del trainer, folder
        self._then = time.monotonic()

    def close(self, trainer: Trainer) -> None:
        del trainer
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        self.console.print(Text(line), soft_wrap=True)


def _counted(step: Step) -> str:
    """What the labels of a step are of."""
    of_rows = bool(step.shapes) and all(len(shapes.get("labels", (0, 0))) == 1 for shapes in step.shapes)
    return "rows" if of_rows else "tokens"


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else SMOOTHING * old + (1 - SMOOTHING) * new


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
