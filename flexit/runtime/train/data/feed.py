"""Batches without end from any loader, pass after pass, with a position that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train.data.loader import Loader
from flexit.runtime.train.data.loader_state import packed, unpacked
from flexit.runtime.train.saving import random_state
from flexit.runtime.train.update.step import never

_END = object()
"""In the place of a batch: the pass is over."""


@runtime_checkable
class Stateful(Protocol):
    """A loader that says itself where it is."""

    def state_dict(self) -> Any:
        """The position, as JSON data; tensors may be in it."""

    def load_state_dict(self, state: Any, /) -> None:
        """Go to a position."""


class Feed:
    """Endless batches.

    A :class:`Stateful` loader (:class:`~flexit.runtime.train.data.loader.Loader`, torchdata's
    ``StatefulDataLoader``) is asked where it is. Any other is brought back by starting its pass from the random
    state that it had then and dropping the batches that were seen: exact for loaders that depend on nothing else.

    Attributes:
        passes: passes completed.
        batches: batches taken in the current pass.
    """

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader
        self._stateful = loader if isinstance(loader, Stateful) else None
        self._iterator: Iterator[Any] | None = None
        self._start: dict[str, Tensor] = {}
        self.passes = 0
        self.batches = 0
        self._last = 0

    @property
    def where(self) -> str:
        """The batch that was taken last, for messages."""
        return f"batch {self.batches} of pass {self.passes + 1}"

    @contextmanager
    def open(self) -> Iterator[None]:
        """While entered, batches are taken; after that, a loader of flexit has no worker processes any more."""
        try:
            yield
        finally:
            if isinstance(self.loader, Loader):
                self.loader.close()

    def next(self) -> Any:
        """The next batch, of the next pass where this one is at its end.

        Raises:
            UserError: FX1704, the loader has no batches, or no more.
        """
        for _ in range(2):
            begins = self._iterator is None and self.batches == 0
            batch = self._within_pass()
            if batch is not _END:
                return batch
            if begins:
                break
        raise self._no_batch()

    def group(self, count: int, *, one_pass: bool = False, stop: Callable[[], bool] = never) -> Iterator[Any]:
        """The next batches, ``count`` of them.

        Args:
            count: how many.
            one_pass: give fewer where the pass ends before.
            stop: asked after each; where it says yes, the rest is left.

        Raises:
            UserError: FX1704, the loader has no batches, or no more.
        """
        yield self.next()
        for _ in range(count - 1):
            batch = _END if stop() else self._within_pass() if one_pass else self.next()
            if batch is _END:
                return
            yield batch

    def _within_pass(self) -> Any:
        """The next batch of this pass; at its end the next pass is begun by the call that follows."""
        if self._iterator is None:
            self._begin()
        assert self._iterator is not None
        batch = next(self._iterator, _END)
        if batch is not _END:
            self.batches += 1
            return batch
        self._iterator = None
        if self.batches:
            self.passes, self.batches, self._last = self.passes + 1, 0, self.batches
        return _END

    def _no_batch(self) -> UserError:
        cure = "give a loader that can be gone through again: a list or a DataLoader, not a generator"
        if self.passes == 0:
            return UserError.of(
                "FX1704", "the training loader is empty", path="train_dataloader", expected="at least one batch",
                found="none", cure=cure,
            )  # fmt: skip
        given = f"after {self._last} batches in pass {self.passes}" if self._last else f"after pass {self.passes}"
        return UserError.of(
            "FX1704", "the training loader is exhausted", path="train_dataloader",
            expected=f"batches in pass {self.passes + 1} too", found=f"none, {given}",
            cure=f"{cure}; or train fewer steps",
        )  # fmt: skip

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The position as JSON data, and the random states that the current pass began with."""
        own = None if self._stateful is None else packed(self._stateful.state_dict())
        return {"passes": self.passes, "batches": self.batches, "loader": own}, self._start

    def load(self, position: Mapping[str, Any], start: Mapping[str, Tensor]) -> None:
        """Go to a saved position. The caller restores the random states afterwards.

        Raises:
            UserError: FX1704, the loader has fewer batches than were seen, or cannot be told where it was; the feed is
                where it was.
        """
        iterator = None
        if position["loader"] is not None:
            if self._stateful is None:
                raise _another("one without state_dict and load_state_dict", expected="a loader that says where it is")
            self._stateful.load_state_dict(unpacked(position["loader"]))
            iterator = iter(self.loader)
        elif position["batches"] > 0:
            iterator = self._after(position["batches"], start)
        self.passes, self.batches = position["passes"], position["batches"]
        self._start, self._iterator = dict(start), iterator

    def _after(self, seen: int, start: Mapping[str, Tensor]) -> Iterator[Any]:
        """A pass from a random state, without the batches that were seen."""
        before = random_state.capture()
        random_state.restore(start)
        iterator = iter(self.loader)
        if sum(1 for _ in islice(iterator, seen)) < seen:
            random_state.restore(before)
            raise _another("fewer", expected=f"more than {seen} batches, those that were seen")
        return iterator

    def _begin(self) -> None:
        if self._stateful is None:
            self._start = random_state.capture()
        self._iterator = iter(self.loader)


def _another(found: str, *, expected: str) -> UserError:
    return UserError.of(
        "FX1704", "the training loader is not the one that the checkpoint goes on with", path="train_dataloader",
        expected=expected, found=found, cure="give the loader that the run began with, or begin a new run",
    )  # fmt: skip
