"""Batches of examples, shuffled by seed, with a position that can be saved and found again at no cost.

Which examples a batch has, and all chance in it, follows from the seed, the number of the pass and the number of the
batch. So a position is two numbers, also where worker processes make batches ahead, and a resumed run needs nothing of
theirs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from flexit.errors import UserError
from flexit.runtime.train.data.examples import Examples, Indices
from flexit.runtime.train.data.workers import LOST, Ahead, Key

MOST_LOSSES = 3
"""Times that workers are begun again."""


class Loader:
    """Batches of examples.

    One pass (``for batch in loader``) goes over all examples once, in an order drawn from the seed and the number of
    the pass. ``state_dict`` says how far it is; after ``load_state_dict`` the next pass goes on there.

    Attributes:
        examples: what batches are made of.
        batch_size: examples per batch. Training leaves out those of a last short batch, evaluation does not.
    """

    def __init__(
        self, examples: Examples, *, batch_size: int, seed: int | None = None, bucket: int = 0, workers: int = 0,
        what: str = "training",
    ) -> None:  # fmt: skip
        """Batches.

        Args:
            examples: what they are made of.
            batch_size: how many make one.
            seed: of the order; without one the examples keep theirs and a short batch ends the pass.
            bucket: batches' worth of examples that are sorted by length together, so that little is padded; 0: none.
            workers: processes that make batches ahead; 0: they are made when asked for.
            what: what they are for, in messages.

        Raises:
            UserError: FX1603, not enough examples.
        """
        self.examples = examples
        self.batch_size = batch_size
        self._schedule = Schedule(examples, batch_size=batch_size, seed=seed, bucket=bucket)
        self._workers = workers
        self._losses = 0
        self._pass = 0
        self._batch = 0
        self._ahead: Ahead | None = None
        if len(self) == 0:
            needed = 1 if seed is None else batch_size
            raise UserError.of(
                "FX1603", f"too little data for {what}", path="data", expected=f"{needed} rows",
                found=f"{len(examples)} rows",
                cure="add data, or lower seq_len or batch.size" + ("" if seed is not None else ", or raise the split"),
            )  # fmt: skip

    def __len__(self) -> int:
        """Batches in a pass."""
        return self._schedule.batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if self._schedule.seed is None:
            self._batch = 0
        while self._batch < len(self):
            batch = self._next()
            self._batch += 1
            yield batch
        self._pass, self._batch = self._pass + 1, 0

    def _next(self) -> dict[str, Tensor]:
        if self._workers == 0:
            return self._schedule.made((self._pass, self._batch))
        key = (self._pass, self._batch)
        try:
            return self._from_workers(key)
        except LOST:  # a worker is dead, by a signal to all processes of the run or for want of memory
            self.close()
            self._losses += 1
            if self._losses > MOST_LOSSES:
                self._workers = 0
                warnings.warn(
                    f"workers of the data died {self._losses} times; batches are made without them from here on, and "
                    "are the same", RuntimeWarning, stacklevel=2,
                )  # fmt: skip
            return self._schedule.made(key)
        except BaseException:
            self.close()
            raise

    def _from_workers(self, key: Key) -> dict[str, Tensor]:
        """A batch; workers that are elsewhere, since a pass was left in the middle, are ended and others begun."""
        while True:
            if self._ahead is None:
                self._ahead = Ahead(self._schedule, key, batches=len(self), workers=self._workers)
            found, batch = self._ahead.next()
            if found == key:
                return batch
            self.close()

    def close(self) -> None:
        """End the workers, if there are any; the position stays, and the next batch begins others."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def state_dict(self) -> dict[str, int]:
        """The position: passes done, batches of the current one done."""
        return {"pass": self._pass, "batch": self._batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a saved position."""
        self._pass, self._batch = state["pass"], state["batch"]
        self.close()


class Schedule(Dataset[dict[str, Tensor]]):
    """Which examples each batch of each pass has.

    Attributes:
        seed: of the order; None: as they are.
        batches: in a pass.
    """

    def __init__(self, examples: Examples, *, batch_size: int, seed: int | None, bucket: int) -> None:
        self.examples = examples
        self.seed = seed
        self._size = batch_size
        self._bucket = bucket
        self.batches = len(examples) // batch_size if seed is not None else -(-len(examples) // batch_size)
        self._known: tuple[int, Indices] | None = None

    def __getitem__(self, key: Key) -> dict[str, Tensor]:
        return self.made(key)

    def made(self, key: Key) -> dict[str, Tensor]:
        """A batch. Without a seed all chance is the same in each pass, so that two evaluations can be compared."""
        chance = (0, 0, key[1]) if self.seed is None else (self.seed, *key)
        return self.examples.batch(self.chosen(key), chance)

    def chosen(self, key: Key) -> Indices:
        """The examples of a batch."""
        number, batch = key
        if self._known is None or self._known[0] != number:
            self._known = (number, self._order(number))
        return self._known[1][batch * self._size : (batch + 1) * self._size]

    def _order(self, number: int) -> Indices:
        """All examples in the order of one pass."""
        if self.seed is None:
            return self.examples.plain_order()
        rng = np.random.default_rng([self.seed, number])
        order = self.examples.order(rng, seed=self.seed, number=number)
        lengths = self.examples.lengths
        if self._bucket < 2 or lengths is None:
            return order
        order, rest = np.split(order, [self.batches * self._size])
        window = self._bucket * self._size
        windows = [order[start : start + window] for start in range(0, len(order), window)]
        sorted_ = np.concatenate([each[np.argsort(lengths[each], kind="stable")] for each in windows])
        batches = sorted_.reshape(self.batches, self._size)[rng.permutation(self.batches)]
        return np.concatenate([batches.ravel(), rest])
