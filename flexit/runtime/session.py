"""What a session is: a model that can be run whole, or started on prompts and fed token by token. numpy in and out."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from flexit.errors import TaskError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A graph input as sessions need it: see :class:`flexit.ir.program.Input`."""

    name: str
    group: str
    role: str


@dataclass(frozen=True, slots=True)
class Interface:
    """What of a program a session needs.

    Attributes:
        decoded: group of the input that is fed step by step, or None with ``why_not`` saying why.
    """

    inputs: tuple[Entry, ...]
    outputs: tuple[str, ...]
    decoded: str | None
    why_not: str

    @property
    def of_decoded(self) -> tuple[Entry, ...]:
        """The inputs that go on step by step; vectors are of no length, and of no group."""
        return tuple(e for e in self.inputs if e.group == self.decoded and e.role != "vector")

    def complete(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Inputs with the default masks filled in.

        Raises:
            TaskError: FX2001, an input is missing or unknown.
        """
        required = [entry.name for entry in self.inputs if entry.role in ("ids", "values", "vector")]
        unknown = set(given) - {entry.name for entry in self.inputs}
        if unknown or any(name not in given for name in required):
            raise TaskError.of(
                "FX2001", "these are not the inputs of the model", expected=", ".join(required),
                found=", ".join(given) or "nothing", cure="pass the graph inputs by name",
            )  # fmt: skip
        full = dict(given)
        for entry in self.inputs:
            if entry.role == "mask" and entry.name not in full:
                ids = next(full[e.name] for e in self.inputs if e.group == entry.group and e.role in ("ids", "values"))
                full[entry.name] = np.ones(ids.shape[:2], np.int64)
        return full

    @property
    def beside(self) -> tuple[str, ...]:
        """Inputs that come with the decoded one, token by token (token types)."""
        if self.decoded is None:
            return ()
        own = [e.name for e in self.inputs if e.group == self.decoded and e.role in ("ids", "values")]
        return tuple(own[1:])

    def taken_beside(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Those of ``given`` that come with the decoded input.

        Raises:
            TaskError: FX2001, one is missing.
        """
        missing = [name for name in self.beside if name not in given]
        if missing:
            raise TaskError.of(
                "FX2001", "an input that comes with each token is missing", expected=", ".join(self.beside),
                found=", ".join(given) or "none", cure=f"pass {missing[0]} for the same tokens", path=missing[0],
            )  # fmt: skip
        return {name: given[name] for name in self.beside}

    def require_counted(self, given: Mapping[str, Array], *, taken: Container[str] = ()) -> None:
        """Refuse position ids where they are counted from the mask.

        Raises:
            TaskError: FX2001, position ids are given that are not among those ``taken``.
        """
        passed = [e.name for e in self.inputs if e.role == "position_ids" and e.name in given and e.name not in taken]
        if passed:
            raise TaskError.of(
                "FX2001", "this session counts position ids itself", expected="ids and their mask", found=passed[0],
                cure=f"leave {passed[0]} out, or call the PyTorch module with it", path=passed[0],
            )  # fmt: skip

    def require_decoded(self) -> tuple[Entry, Entry]:
        """The ids or values that are decoded, and their mask.

        Raises:
            TaskError: FX0801, the model has no cached form.
        """
        if self.decoded is None:
            raise TaskError.of(
                "FX0801", "the model cannot be decoded token by token",
                expected="a causal path from an input to logits", found=self.why_not,
                cure="use a causal mask, or run the model whole",
            )  # fmt: skip
        mine = self.of_decoded
        return next(e for e in mine if e.role in ("ids", "values")), next(e for e in mine if e.role == "mask")


class Session(Protocol):
    """A model at run time."""

    interface: Interface

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One pass without a cache: graph outputs by name."""
        ...

    def start(self, inputs: Mapping[str, Array]) -> Array:
        """Forget everything and read prompts; scores after the last slot of each row, ``[batch, vocab]``.

        Prompts of different lengths are padded on the left, the mask 0 there.
        """
        ...

    def step(self, tokens: Array, mask: Array | None = None, *, others: Mapping[str, Array] | None = None) -> Array:
        """Read more tokens ``int64[batch, n]`` (or values, if that is what the model decodes), padded where ``mask`` is
        0; ``others`` are the inputs that come with each (token types). Scores for each, ``[batch, n, vocab]``.
        """
        ...

    def select(self, rows: Array) -> None:
        """Keep these rows of the batch, in this order (``int64[rows]``)."""
        ...


def position_ids(mask: Array, new: int) -> Array:
    """Unpadded tokens before each of the last ``new`` slots, as every decoder here counts."""
    return np.maximum(np.cumsum(mask, axis=1) - 1, 0)[:, mask.shape[1] - new :]
