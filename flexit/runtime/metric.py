"""What a metric is: a number for how good answers are, of what was seen of them. Training and ``flexit eval`` share it.

A metric reads one kind of evidence; a task, or a file of data, shows some. Nothing here knows of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from flexit.ir import registry
from flexit.ir.block import Fault
from flexit.ir.language.kinds import Kind
from flexit.ir.wording import several

Evidence = Literal["likelihood", "bytes", "tokens", "labels", "tags", "numbers", "vectors", "texts"]
"""What may be seen: how probable labels were, and of how many bytes; tokens, classes or tags of words that were found
and wanted; numbers; vectors of pairs; texts that were generated.
"""
PLAIN: tuple[Evidence, ...] = ("likelihood", "tokens", "labels", "numbers", "vectors")
"""What can be seen of a model and batches of which no more is known."""
LOSS = "loss"
"""The name under which the sum of all loss terms is chosen."""
Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How probable the labels were.

    Attributes:
        nats: sum of -ln p over them.
        count: how many.
        n_bytes: of their text in UTF-8, where it is known.
    """

    nats: float
    count: int
    n_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Classes that were found and that are right, row by row: one of a text, one for each word or token.

    Attributes:
        found, wanted: numbers of classes, as long as each other.
        names: of the classes; none where they are tokens.
    """

    found: Sequence[Integers]
    wanted: Sequence[Integers]
    names: Sequence[str] = ()

    def flat(self) -> tuple[Integers, Integers]:
        """All of them, in two arrays."""
        return np.concatenate(self.found), np.concatenate(self.wanted)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A number that was found for each text, and the right one."""

    found: Floats
    wanted: Floats


@dataclass(frozen=True, slots=True)
class Vectors:
    """A vector for each text, and one for each that belongs to it, ``[n, d]``."""

    ones: Floats
    others: Floats


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts that were generated and those that are right.

    Attributes:
        found, wanted: the texts.
        found_ids, wanted_ids: their tokens, without the one that ends them.
    """

    found: Sequence[str]
    wanted: Sequence[str]
    found_ids: Sequence[Sequence[int]]
    wanted_ids: Sequence[Sequence[int]]


class Metric(Kind, family="Metric", package="flexit.runtime.metrics"):
    """How good answers are, as a number."""

    reads: ClassVar[tuple[Evidence, ...]] = ()
    """The kinds of evidence that it can be told from."""
    higher: ClassVar[bool] = True
    """Whether more is better."""

    @property
    def name(self) -> str:
        """What its value is called."""
        return self.kind

    def misfits(self, names: Sequence[str]) -> Iterator[Fault]:
        """What stands against it with classes of these names."""
        del names
        yield from ()

    def missing(self) -> str | None:
        """A library that it needs and that is not installed."""
        return None

    def of(self, seen: Any) -> float:
        """The value, of evidence that it reads; nan where there is none."""
        raise NotImplementedError


def those_of(shown: Sequence[Evidence]) -> list[str]:
    """The kinds of metrics that go with some evidence."""
    found = ((name, registry.find(Metric, name)) for name in registry.names(Metric))
    return [name for name, cls in found if cls is not None and issubclass(cls, Metric) and set(cls.reads) & set(shown)]


def by_evidence(metric: Metric, shown: Sequence[Evidence]) -> Evidence | None:
    """The evidence among some that a metric is told from; None where it reads none of it."""
    return next((each for each in shown if each in metric.reads), None)


def faults(
    metrics: Sequence[Metric], shown: Sequence[Evidence], names: Sequence[str]
) -> Iterator[tuple[int, Fault]]:  # fmt: skip
    """What stands against metrics, each with the number of the metric.

    Args:
        metrics: those that are wanted.
        shown: the evidence there is.
        names: of the classes, where they are known.
    """
    for index, metric in enumerate(metrics):
        if by_evidence(metric, shown) is None:
            yield index, Fault(
                code="FX1530", field="", message=f"{metric.kind} cannot be told of this task",
                expected=several(those_of(shown)), found=metric.kind, cure="write one of these, or delete it",
            )  # fmt: skip
        elif metric.name in [each.name for each in metrics[:index]]:
            yield index, Fault(
                code="FX1530", field="", message="a metric twice", expected="each metric once", found=metric.name,
                cure="delete one of them",
            )  # fmt: skip
        elif (library := metric.missing()) is not None:
            yield index, Fault(
                code="FX1608", field="", message=f"{metric.kind} needs {library}, which is not installed",
                expected=library, found="nothing of this name", cure="install flexit-ml[train]",
            )  # fmt: skip
        else:
            yield from ((index, wrong) for wrong in metric.misfits(names))
