"""What a session is: a model that can be run whole, or started on prompts and fed token by token. numpy in and out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike
from typing import Any, Protocol

import numpy as np

from flexit.errors import ResourceError, TaskError
from flexit.ir.misfits import unusable
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.interface import Interface

NO_MEMORY = re.compile(r"allocate memory|bad_alloc|BFCArena|out of memory|not enough memory", re.IGNORECASE)
BYTES = re.compile(r"size (\d+)|allocate (\d+) bytes")
PIECE = 512
"""Slots of a prompt that are read at once: what attention takes grows with the square of them."""


class Session(Protocol):
    """A model at run time. It takes lists, arrays of integers or booleans, and tensors, and gives numpy."""

    interface: Interface

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """One pass without a cache: graph outputs by name. It leaves what was started as it is."""
        ...

    def start(self, inputs: Mapping[str, Any]) -> Array:
        """Forget everything and read prompts; scores after the last slot of each row, ``[batch, vocab]``.

        Prompts of different lengths are padded on the left, the mask 0 there.
        """
        ...

    def step(self, tokens: Any, mask: Any = None, *, others: Mapping[str, Any] | None = None) -> Array:
        """Read more tokens ``int64[batch, n]`` (or values, if that is what the model decodes), padded where ``mask`` is
        0; ``others`` are the inputs that come with each (token types). Scores for each, ``[batch, n, vocab]``.
        """
        ...

    def select(self, rows: Any) -> None:
        """Keep these rows of the batch, in this order (``int64[rows]``)."""
        ...


class Stepwise(ABC):
    """What sessions share: inputs brought into form, the mask of all that was read, and the order of calls."""

    interface: Interface

    def __init__(self, interface: Interface) -> None:
        self.interface = interface
        self._mask: Array | None = None

    def start(self, inputs: Mapping[str, Any]) -> Array:
        """Forget everything and read prompts: see :meth:`Session.start`.

        Raises:
            TaskError: FX0801, the model cannot be decoded; FX2001, these are no inputs of it.
            ResourceError: FX1703, there is not enough memory.
        """
        ids, mask = self.interface.require_decoded()
        full = self.interface.complete(inputs)
        self.interface.require_counted(full)
        self._mask = None
        self._begin(full)
        tokens, valid, beside = full[ids.name], full[mask.name], self.interface.taken_beside(full)
        longest = PIECE if self.interface.in_pieces else valid.shape[1]
        last = np.empty(0)
        try:
            for first in range(0, valid.shape[1], longest):
                piece = slice(first, first + longest)
                others = {name: array[:, piece] for name, array in beside.items()}
                last = self._advance(tokens[:, piece], valid[:, piece], others, past=valid[:, :first])[:, -1]
        except BaseException:
            self._mask = None
            raise
        return last

    def step(self, tokens: Any, mask: Any = None, *, others: Mapping[str, Any] | None = None) -> Array:
        """Read more tokens: see :meth:`Session.step`.

        Raises:
            TaskError: FX2006, nothing was started; FX2001, these are no inputs of the model.
        """
        past = self._started()
        new, valid, beside = self.interface.following(tokens, mask, others, past=past)
        return self._advance(new, valid, beside, past=past)

    def select(self, rows: Any) -> None:
        """Keep these rows of the batch, in this order.

        Raises:
            TaskError: FX2006, nothing was started; FX2001, there is no such row.
        """
        past = self._started()
        index = chosen_rows(rows, len(past))
        self._keep(index)
        self._mask = past[index]

    def _started(self) -> Array:
        if self._mask is None:
            raise TaskError.of(
                "FX2006", "nothing was started", expected="start() with the prompts, before step() and select()",
                found="no prompt", cure="call start first",
            )  # fmt: skip
        return self._mask

    def _advance(self, tokens: Array, mask: Array, beside: Mapping[str, Array], *, past: Array) -> Array:
        ids, mask_entry = self.interface.require_decoded()
        whole = np.concatenate([past, mask], axis=1)
        scores = self._read({ids.name: tokens, mask_entry.name: whole, **beside})
        self._mask = whole
        return scores

    @abstractmethod
    def _begin(self, full: Mapping[str, Array]) -> None:
        """Empty states, and what is computed once, from the inputs of a start."""

    @abstractmethod
    def _read(self, own: Mapping[str, Array]) -> Array:
        """Scores for new slots, whose mask covers what was read before too; states go on."""

    @abstractmethod
    def _keep(self, rows: Array) -> None:
        """States of these rows alone."""


def require_session(given: object) -> None:
    """Refuse what is no session, in the place of one.

    Raises:
        UserError: FX2007.
    """
    if hasattr(given, "interface") and hasattr(given, "run"):
        return
    is_path = isinstance(given, str | PathLike)
    raise unusable(
        "session", given, expected="a session",
        cure="open the bundle: flexit.open_bundle(folder)" if is_path
        else "make one: flexit.open_bundle(folder) of a bundle, or flexit.TorchSession(module)",
    )  # fmt: skip


def chosen_rows(rows: Any, count: int) -> Array:
    """Numbers of rows as ``int64``.

    Raises:
        TaskError: FX2001, there is no such row.
    """
    index = np.asarray(rows)
    if index.ndim != 1 or index.dtype.kind not in "iu" or not index.size or index.min() < 0 or index.max() >= count:
        raise TaskError.of(
            "FX2001", "these are no rows of the batch", path="rows", found=str(rows), cure="name rows that are there",
            expected=f"a list of integers from 0 to {count - 1}, at least one",
        )  # fmt: skip
    return index.astype(np.int64)


def position_ids(mask: Array, new: int) -> Array:
    """Unpadded tokens before each of the last ``new`` slots, as every decoder here counts."""
    return np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, mask.shape[1] - new :]


def lacks_memory(error: Exception) -> bool:
    """Whether a library failed for want of memory, which each says in words of its own."""
    return isinstance(error, MemoryError) or NO_MEMORY.search(str(error)) is not None


def room_asked(error: Exception) -> str:
    """For how much there was no room, where a library says it."""
    asked = BYTES.search(str(error))
    return f"no room for {int(asked[1] or asked[2]):,} bytes more" if asked else "no room for more"


def out_of_memory(error: Exception) -> ResourceError:
    """The error of a run that there is not enough memory for."""
    return ResourceError.of(
        "FX1703", "running the model needs more memory than there is", expected="memory for all rows at once",
        found=room_asked(error),
        cure="give fewer rows at once (batch_size, beams), or shorter ones",
    )  # fmt: skip
