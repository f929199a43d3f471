"""Losses of this library as JSON data, so that a failure can be run once more from its files."""

from __future__ import annotations

from typing import Any

from flexit.runtime.train.update.loss import CrossEntropy, InBatch, RoutedLoss, SquaredError

KNOWN: dict[str, type[RoutedLoss]] = {cls.__name__: cls for cls in (CrossEntropy, SquaredError, InBatch)}
"""Whatever else a loss is, it is code of the user's."""


def described(loss_fn: object) -> dict[str, Any] | None:
    """A loss of this library as data; None of any other."""
    if KNOWN.get(type(loss_fn).__name__) is not type(loss_fn):
        return None
    settings = {name: value for name, value in vars(loss_fn).items() if name != "reads_aux"}
    return {"kind": type(loss_fn).__name__, "settings": settings}


def made(data: dict[str, Any]) -> RoutedLoss:
    """The loss that data describes."""
    return KNOWN[data["kind"]](**data["settings"])
