"""``metrics.jsonl``, which a repeated run gives again to the byte, and ``timing.jsonl``, which it does not."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from flexit.files.folder import write_file
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.resources.work import Work

if TYPE_CHECKING:
    from flexit.runtime.train.failures.mishaps import Failure
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step


Told = Callable[[str, Mapping[str, Any]], None]


class Metrics(Callback):
    """A line every ``every`` steps and after each evaluation.

    The loss of a line is the mean over all tokens since the line before. On resume both files are cut back to the step
    of the checkpoint.
    """

    def __init__(
        self, folder: Path, *, every: int, work: Work | None = None, peak: float | None = None, told: Told | None = None
    ) -> None:  # fmt: skip
        """What is written.

        Args:
            folder: of the run.
            every: steps between two lines.
            work: counts FLOPs.
            peak: FLOP/s that the device can do at most, where it is known.
            told: called with each line, and of what it is.
        """
        self.every = every
        self.work = work or Work()
        self.peak = peak
        self.told = told
        self._flops: int | None = 0
        self.metrics = folder / "metrics.jsonl"
        self.timing = folder / "timing.jsonl"
        self._sums: dict[str, float] = {}
        self._tokens = self._skipped = self._rollbacks = 0
        self._timed_tokens = 0
        self._since = self._made = 0.0
        self._files: dict[Path, TextIO] = {}

    def start(self, trainer: Trainer) -> None:
        for path in (self.metrics, self.timing):
            cut_back(path, trainer.step)
            self._files[path] = path.open("a", encoding="utf-8")
        self._since, self._flops = time.perf_counter(), 0
        self._made = self._since

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        if failure.answer == "skip":
            self._skipped += 1
            return
        self._rollbacks, self._timed_tokens = failure.count, 0
        self.close(trainer)
        self.start(trainer)  # lines of steps that are made anew are cut off

    def after_step(self, trainer: Trainer, step: Step) -> None:
        for name, value in () if step.skipped else step.losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * step.tokens
        self._tokens += step.tokens
        self._timed_tokens += step.tokens
        made = self.work.of(trainer.model, step.shapes)
        self._flops = None if made is None or self._flops is None else self._flops + made
        now = self._made = time.perf_counter()
        if step.number % self.every and step.number != trainer.steps:
            return
        means = {name: total / max(1, self._tokens) for name, total in self._sums.items()}
        line = {"step": step.number, **means, "lr": step.lr, "grad_norm": step.grad_norm, "tokens": trainer.tokens}
        line |= {"skipped": self._skipped} if self._skipped else {}
        line |= {"rollbacks": self._rollbacks} if self._rollbacks else {}
        self._write(self.metrics, line, of="metrics")
        seconds = now - self._since
        rate = self._timed_tokens / seconds if seconds else 0.0
        timing = {"step": step.number, "seconds": round(seconds, 3), "tokens_per_second": round(rate, 1)}
        if self._flops and seconds:
            timing["flops_per_second"] = round(self._flops / seconds)
            if self.peak is not None:
                timing["mfu"] = round(self._flops / seconds / self.peak, 4)
        self._write(self.timing, timing, of="timing")
        self._sums, self._tokens, self._timed_tokens, self._since, self._flops = {}, 0, 0, now, 0
        self._skipped = self._rollbacks = 0

    def after_evaluation(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        if not self._files:  # between two runs, whose lines are of their own evaluations
            return
        self._write(self.metrics, {"step": trainer.step, **metrics}, of="evaluation")
        now = time.perf_counter()
        self._since += now - self._made  # the time of the evaluation is not that of updates
        self._made = now

    def before_checkpoint(self, trainer: Trainer) -> None:
        del trainer
        for path, file in self._files.items():
            with self._telling(path):
                os.fsync(file.fileno())

    def close(self, trainer: Trainer) -> None:
        del trainer
        files, self._files = self._files, {}
        for path, file in files.items():
            with self._telling(path):
                file.close()

    def state_dict(self) -> dict[str, Any]:
        more = {"skipped": self._skipped} if self._skipped else {}
        more |= {"rollbacks": self._rollbacks} if self._rollbacks else {}
        return {"sums": self._sums, "tokens": self._tokens, **more}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums, self._tokens = dict(state["sums"]), state["tokens"]
        self._skipped, self._rollbacks = state.get("skipped", 0), state.get("rollbacks", 0)

    def _write(self, path: Path, line: Mapping[str, Any], *, of: str) -> None:
        file = self._files[path]
        with self._telling(path):
            file.write(json.dumps({name: finite(value) for name, value in line.items()}) + "\n")
            file.flush()
        if self.told is not None:
            self.told(of, line)

    def _telling(self, path: Path) -> AbstractContextManager[None]:
        """What tells of a refusal to write."""
        from flexit.runtime.train.saving.checkpoint import telling_what_is_left

        return telling_what_is_left(self.metrics.parent / "checkpoints", path)


def finite(value: Any) -> Any:
    """A value that JSON has: null for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cut_back(path: Path, step: int) -> None:
    """Drop lines after ``step``, and what a kill left of a line or somebody else wrote."""
    kept = [json.dumps(line) + "\n" for line in read_lines(path) if line["step"] <= step]
    data = "".join(kept).encode()
    if not path.exists() or path.read_bytes() != data:
        write_file(path, data)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; an unfinished last one is left out, and what is no line of metrics."""
    if not path.exists():
        return []
    return list(filter(None, map(_line, path.read_bytes().split(b"\n")[:-1])))


def _line(data: bytes) -> dict[str, Any] | None:
    try:
        line: object = json.loads(data)
    except (ValueError, RecursionError):
        return None
    found = cast("dict[str, Any]", line) if isinstance(line, dict) else {}
    return found if type(found.get("step")) is int else None
