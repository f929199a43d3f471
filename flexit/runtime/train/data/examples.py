"""What a loader takes batches of."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

Indices = npt.NDArray[np.int64]


class Examples(Protocol):
    """Examples by number. It may be sent to worker processes."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    @property
    def lengths(self) -> npt.NDArray[Any] | None:
        """Tokens of each example, by which a loader may put like to like; None where all are equal."""
        ...

    def batch(self, chosen: Indices, key: tuple[int, ...]) -> dict[str, Tensor]:
        """A batch.

        Args:
            chosen: examples, by number.
            key: what all chance in it is drawn from, so that it is the same whichever process makes it, and when.
        """
        ...
