"""What the held-out data says beside the loss: the metrics of a run, told from what its evaluations see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from flexit.errors import UserError
from flexit.ir.wording import several
from flexit.runtime.metric import LOSS, PLAIN, Evidence, Metric, by_evidence, faults
from flexit.runtime.train.evaluation.observing import Observer, observer

if TYPE_CHECKING:
    from flexit.runtime.train.task import Setting, Task
    from flexit.runtime.train.update.step import LossFn


@dataclass(frozen=True, slots=True)
class Background:
    """What a run knows beside its model and its batches.

    Attributes:
        task: what is learned.
        setting: tokenizers and names of classes.
        max_new_tokens: most tokens of a text that is generated.
    """

    task: Task
    setting: Setting
    max_new_tokens: int


class Judge:
    """Tells the metrics of evaluations.

    Attributes:
        metrics: those that are wanted.
    """

    def __init__(self, metrics: Sequence[Metric] = (), background: Background | None = None) -> None:
        """What to tell.

        Args:
            metrics: in the order of the lines that they come in.
            background: of a run that a run config says.

        Raises:
            UserError: FX1530, a metric cannot be told here; FX1608, its library is not installed.
        """
        self.metrics = tuple(metrics)
        self._background = background
        self._shown: tuple[Evidence, ...] = PLAIN
        if background is not None:
            self._shown = background.task.shown(texts=bool(background.setting.tokenizers))
        names = () if background is None else background.setting.labels
        for index, wrong in faults(self.metrics, self._shown, names):
            path = f"evaluate.metrics.{index}" + (f".{wrong.field}" if wrong.field else "")
            raise UserError.of(
                wrong.code, wrong.message, path=path, expected=wrong.expected, found=wrong.found, cure=wrong.cure
            )
        self._observers: dict[Evidence, Observer] = {}

    def watch(self, model: nn.Module, loss_fn: LossFn) -> LossFn:
        """A loss that lets the metrics see what it is given; for the batches of one evaluation.

        Args:
            model: what is looked at.
            loss_fn: the loss.
        """
        shown: list[Evidence] = [self._evidence(metric) for metric in self.metrics]
        self._observers = {each: observer(each, model, self._background) for each in dict.fromkeys(shown)}
        return _Watched(loss_fn, list(self._observers.values())) if self._observers else loss_fn

    def values(self) -> dict[str, float]:
        """The metrics of the evaluation that was watched, by name."""
        seen = {each: found.evidence() for each, found in self._observers.items()}
        self._observers = {}
        return {metric.name: metric.of(seen[self._evidence(metric)]) for metric in self.metrics}

    def score(self, name: str, loss: float, values: Mapping[str, float]) -> float:
        """The loss or a metric as a number that is lower where it is better.

        Args:
            name: ``loss``, or that of a metric.
            loss: of the evaluation.
            values: of the evaluation, by the names of the metrics.

        Raises:
            UserError: FX1531, evaluations do not tell it.
        """
        if name == LOSS:
            return loss
        self.require_known("checkpoint.best", name)
        metric = next(each for each in self.metrics if each.name == name)
        return -values[name] if metric.higher else values[name]

    def require_known(self, path: str, name: str) -> None:
        """Raise unless evaluations tell what a setting goes by.

        Raises:
            UserError: FX1531.
        """
        known = [LOSS, *(each.name for each in self.metrics)]
        if name not in known:
            raise UserError.of(
                "FX1531", "evaluations do not tell this", path=path, expected=several(known), found=name,
                cure=f"add it to evaluate.metrics, or write {known[-1]}",
            )  # fmt: skip

    def _evidence(self, metric: Metric) -> Evidence:
        found = by_evidence(metric, self._shown)
        assert found is not None, "refused when it was made"
        return found


class _Watched:
    """A loss beside which others look at what it is given."""

    def __init__(self, loss_fn: LossFn, observers: Sequence[Observer]) -> None:
        self.loss_fn: Callable[..., Any] = loss_fn
        self.observers = observers
        self.reads_aux = getattr(loss_fn, "reads_aux", False)

    def __call__(self, outputs: Any, batch: Mapping[str, Any]) -> Any:
        for each in self.observers:
            each.see(outputs, batch)
        return self.loss_fn(outputs, batch)
