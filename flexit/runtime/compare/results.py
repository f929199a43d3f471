"""What came of a comparison: figures of each run, their means and sample deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from flexit.runtime.compare.plan import Case
from flexit.runtime.runs.folder import VALIDATION

CANNOT = "cannot"
"""Key of what stands in the place of figures of a length, where there are none."""


PER_BYTE = "validation_bits_per_byte"


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of several seeds.

    Attributes:
        values: of the seeds, in their order.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their sample standard deviation, of ``n - 1``; None of one value."""
        return stdev(self.values) if len(self.values) > 1 else None

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"mean": self.mean, "deviation": self.deviation, "n": len(self.values)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case.

    Attributes:
        case: which.
        results: of the finished runs, by seed.
        failures: why runs failed, by seed.
        unfinished: seeds that were not carried out to the end.
    """

    case: Case
    results: Mapping[int, Mapping[str, Any]]
    failures: Mapping[int, str]
    unfinished: Sequence[int]

    def spread(self, *keys: str) -> Spread | None:
        """The values at a place of the results; None where no seed has one."""
        found = [_at(result, keys) for result in self.results.values()]
        known = [float(value) for value in found if isinstance(value, int | float) and isfinite(value)]
        return Spread(tuple(known)) if known else None

    def cannot(self, length: int) -> str | None:
        """Why it cannot read rows of a length, if it cannot."""
        found = (_at(each, ("lengths", str(length), CANNOT)) for each in self.results.values())
        return next((why for why in found if why), None)

    @property
    def metrics(self) -> list[str]:
        """The metrics of its runs."""
        return sorted({key for result in self.results.values() for key in result.get("metrics", {})})

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        case, size = self.case, self.case.sized
        matched = None if size is None else {"wanted": size.wanted, "figure": size.figure, "sets": list(size.sets)}
        return {
            "name": case.name, "folder": case.folder, "sets": list(case.sets), "model": case.config.model,
            "parameters": case.parameters, "forward_flops_per_token": case.flops, "matched": matched,
            "seeds": {str(seed): dict(result) for seed, result in self.results.items()},
            "failed": {str(seed): why for seed, why in self.failures.items()}, "unfinished": list(self.unfinished),
            "spread": {key: spread.data() for key in self.metrics if (spread := self.spread("metrics", key))},
        }  # fmt: skip


def length_metric(outcomes: Sequence[Outcome]) -> str:
    """What rows of several lengths are compared by: bits per byte where evaluations tell them, else the loss."""
    told = (found for each in outcomes for result in each.results.values() for found in result["lengths"].values())
    return PER_BYTE if any(PER_BYTE in found for found in told) else VALIDATION


def _at(result: Mapping[str, Any], keys: Sequence[str]) -> Any:
    value: Any = result
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
