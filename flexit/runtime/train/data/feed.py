"""Batches without end from any loader, pass after pass, with a position that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train import random_state


@runtime_checkable
class Stateful(Protocol):
    """A loader that says itself where it is."""

    def state_dict(self) -> Any:
        """The position, as JSON data."""

    def load_state_dict(self, state: Any, /) -> None:
        """Go to a position."""


class Feed:
    """Endless batches.

    A :class:`Stateful` loader (:class:`~flexit.runtime.train.data.rows.Rows`, torchdata's
    ``StatefulDataLoader``) is asked where it is. Any other is brought back by starting its pass from the random
    state that it had then and dropping the batches that were seen: exact for loaders that depend on nothing else.

    Attributes:
        passes: passes completed.
        batches: batches taken in the current pass.
    """

    def __init__(self, loader: Iterable[Mapping[str, Any]]) -> None:
        self.loader = loader
        self._stateful = loader if isinstance(loader, Stateful) else None
        self._iterator: Iterator[Mapping[str, Any]] | None = None
        self._start: dict[str, Tensor] = {}
        self.passes = 0
        self.batches = 0

    def next(self) -> Mapping[str, Any]:
        """The next batch, of the next pass where this one is at its end.

        Raises:
            UserError: FX1704, the loader has no batches.
        """
        for _ in range(2):
            if self._iterator is None:
                self._begin()
            assert self._iterator is not None
            batch = next(self._iterator, None)
            if batch is not None:
                self.batches += 1
                return batch
            self._iterator = None
            if self.batches == 0:
                break
            self.passes, self.batches = self.passes + 1, 0
        raise UserError.of(
            "FX1704", "the training loader is empty", path="train_dataloader", expected="at least one batch",
            found="none",
            cure="give a loader that can be iterated again for each pass",
        )  # fmt: skip

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The position as JSON data, and the random states that the current pass began with."""
        own = None if self._stateful is None else self._stateful.state_dict()
        return {"passes": self.passes, "batches": self.batches, "loader": own}, self._start

    def load(self, position: Mapping[str, Any], start: Mapping[str, Tensor]) -> None:
        """Go to a saved position. The caller restores the random states afterwards."""
        self.passes, self.batches = position["passes"], position["batches"]
        self._start = dict(start)
        self._iterator = None
        if position["loader"] is not None and self._stateful is not None:
            self._stateful.load_state_dict(position["loader"])
            self._iterator = iter(self.loader)
        elif self.batches > 0:
            random_state.restore(start)
            self._iterator = iter(self.loader)
            for _ in range(self.batches):
                next(self._iterator, None)

    def _begin(self) -> None:
        if self._stateful is None:
            self._start = random_state.capture()
        self._iterator = iter(self.loader)
