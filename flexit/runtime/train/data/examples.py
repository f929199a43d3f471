"""What a loader takes batches of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

Indices = npt.NDArray[np.int64]


class Examples(ABC):
    """Examples by number. It may be sent to worker processes."""

    @abstractmethod
    def __len__(self) -> int:
        """How many a pass has."""

    @property
    def lengths(self) -> npt.NDArray[Any] | None:
        """Tokens of each example, by which a loader may put like to like; None where all are equal."""
        return None

    @abstractmethod
    def rows(self, chosen: Indices) -> Sequence[Any]:
        """Some examples, as :meth:`collate` takes them."""

    @abstractmethod
    def collate(self, rows: Sequence[Any], key: tuple[int, ...]) -> dict[str, Tensor]:
        """A batch of examples; all chance in it is drawn from ``key``."""

    def batch(self, chosen: Indices, key: tuple[int, ...]) -> dict[str, Tensor]:
        """A batch.

        Args:
            chosen: examples, by number.
            key: what all chance in it is drawn from, so that it is the same whichever process makes it, and when.
        """
        return self.collate(self.rows(chosen), key)

    def order(self, rng: np.random.Generator, *, seed: int, number: int) -> Indices:
        """The examples of a pass in the order that they are trained on.

        Args:
            rng: of this pass.
            seed: of all passes.
            number: of the pass, from 0.
        """
        del seed, number
        return rng.permutation(len(self))

    def plain_order(self) -> Indices:
        """Each example once, without chance."""
        return np.arange(len(self))
