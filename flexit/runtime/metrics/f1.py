"""``f1``: the harmonic mean of precision and recall of classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np

from flexit.ir.block import Fault
from flexit.ir.wording import nearest, several
from flexit.runtime.metric import Evidence, Floats, Labels, Metric

Average = Literal["macro", "micro", "binary"]


class F1(Metric, kind="f1"):
    """The harmonic mean of precision and recall (van Rijsbergen 1979); 0 for a class that is never right."""

    formula: ClassVar[str] = "2 tp / (2 tp + fp + fn)"
    source: ClassVar[str] = "van Rijsbergen 1979"
    reads: ClassVar[tuple[Evidence, ...]] = ("labels",)

    average: Average = "macro"
    """Over classes: macro, the mean of those that were found or wanted; micro, of all together; binary, of one."""
    positive: str | None = None
    """The class of `binary`; null: the second of two."""

    @property
    def name(self) -> str:
        return f"{self.average}_f1"

    def misfits(self, names: Sequence[str]) -> Iterator[Fault]:
        if self.average != "binary":
            if self.positive is not None:
                yield Fault(
                    code="FX1530", field="positive", message="has no effect without average: binary",
                    expected="average: binary, or no positive", found=self.average,
                    cure="write average: binary, or delete positive",
                )  # fmt: skip
        elif self.positive is None and names and len(names) != 2:
            yield Fault(
                code="FX1530", field="average", message="which class is meant is not said",
                expected="positive, or two classes", found=f"{len(names)} classes",
                cure=f"write positive: {names[-1]}, or another of the classes",
            )  # fmt: skip
        elif self.positive is not None and names and self.positive not in names:
            yield Fault(
                code="FX1530", field="positive", message="not a class of the task", expected=several(names[:12]),
                found=self.positive, cure=f"write {nearest(self.positive, names) or names[-1]}",
            )  # fmt: skip

    def of(self, seen: Labels) -> float:
        found, wanted = seen.flat()
        classes, both = np.unique(np.concatenate([found, wanted])), found[found == wanted]
        counts = np.array([[np.sum(part == each) for part in (both, found, wanted)] for each in classes])
        if self.average == "micro":
            return float(_f1(counts.sum(axis=0)))
        if self.average == "macro":
            return float(_f1(counts.T).mean())
        at = 1 if self.positive is None or not seen.names else list(seen.names).index(self.positive)
        return float(_f1(counts[classes == at].sum(axis=0)))


def _f1(counts: Floats) -> Floats:
    """Of counts of classes that were right, found and wanted."""
    right, found, wanted = counts
    return 2 * right / np.maximum(found + wanted, 1)
