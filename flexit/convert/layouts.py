"""How checkpoints lay out arrays that are ours by other axes or in other pieces. Each layout can be undone exactly.

``split`` takes an array of theirs apart into ours, ``join`` puts ours together; ``shape`` is that of theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, cast

import numpy as np

from flexit.convert.tensors import Array

Shape = tuple[int, ...]


class Layout(ABC):
    """A way to store one or several arrays as one."""

    @abstractmethod
    def shape(self, parts: Sequence[Shape]) -> Shape:
        """The shape of the whole; ValueError where these parts do not go together."""

    @abstractmethod
    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        """The parts of an array."""

    @abstractmethod
    def join(self, parts: Sequence[Array]) -> Array:
        """The whole of some parts."""


def _one(parts: Sequence[Any]) -> Any:
    if len(parts) != 1:
        raise ValueError("this layout is of one array")
    return parts[0]


@dataclass(frozen=True, slots=True)
class Same(Layout):
    """As it is."""

    def shape(self, parts: Sequence[Shape]) -> Shape:
        return _one(parts)

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        del parts
        return [whole]

    def join(self, parts: Sequence[Array]) -> Array:
        return _one(parts)


@dataclass(frozen=True, slots=True)
class Transposed(Layout):
    """The last two axes changed over, as in GPT-2's ``Conv1D``."""

    def shape(self, parts: Sequence[Shape]) -> Shape:
        *outer, rows, columns = _one(parts)
        return (*outer, columns, rows)

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        del parts
        return [whole.swapaxes(-1, -2)]

    def join(self, parts: Sequence[Array]) -> Array:
        return _one(parts).swapaxes(-1, -2)


@dataclass(frozen=True, slots=True)
class Concatenated(Layout):
    """One after the other along an axis."""

    axis: int = 0

    def shape(self, parts: Sequence[Shape]) -> Shape:
        lengths = sum(part[self.axis] for part in parts)
        return (*parts[0][: self.axis], lengths, *parts[0][self.axis + 1 :])

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        ends = list(accumulate(part[self.axis] for part in parts))
        return np.split(whole, ends[:-1], axis=self.axis)

    def join(self, parts: Sequence[Array]) -> Array:
        return np.concatenate(parts, axis=self.axis)


@dataclass(frozen=True, slots=True)
class Interleaved(Layout):
    """Taking turns along an axis: a row of each, then the next (gpt-oss's gate and up)."""

    axis: int = 0

    def shape(self, parts: Sequence[Shape]) -> Shape:
        if len(set(parts)) != 1:
            raise ValueError("arrays of several shapes cannot take turns")
        return (*parts[0][: self.axis], len(parts) * parts[0][self.axis], *parts[0][self.axis + 1 :])

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        turn = (slice(None),) * self.axis
        return [whole[(*turn, slice(index, None, len(parts)))] for index in range(len(parts))]

    def join(self, parts: Sequence[Array]) -> Array:
        stacked = np.stack(parts, axis=self.axis + 1)
        return stacked.reshape(self.shape([part.shape for part in parts]))


@dataclass(frozen=True, slots=True)
class PerGroup(Layout):
    """For each of some groups of rows its share of every part: BLOOM's and GPT-NeoX's q, k, v by head; Falcon's q of a
    group, then its k and v.
    """

    groups: int

    def _shares(self, parts: Sequence[Shape]) -> list[int]:
        if self.groups < 1 or any(part[0] % self.groups for part in parts):
            raise ValueError(f"rows that {self.groups} groups cannot share")
        return [part[0] // self.groups for part in parts]

    def shape(self, parts: Sequence[Shape]) -> Shape:
        self._shares(parts)
        return (sum(part[0] for part in parts), *parts[0][1:])

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        ends = list(accumulate(self._shares(parts)))
        grouped = whole.reshape(self.groups, ends[-1], *whole.shape[1:])
        return [piece.reshape(part) for piece, part in zip(np.split(grouped, ends[:-1], axis=1), parts, strict=True)]

    def join(self, parts: Sequence[Array]) -> Array:
        shares = self._shares([part.shape for part in parts])
        pieces = [part.reshape(self.groups, n, *part.shape[1:]) for part, n in zip(parts, shares, strict=True)]
        return np.concatenate(pieces, axis=1).reshape(self.shape([part.shape for part in parts]))


@dataclass(frozen=True, slots=True)
class Shaped(Layout):
    """The same numbers in order, with other axes."""

    lengths: Shape

    def shape(self, parts: Sequence[Shape]) -> Shape:
        if prod(self.lengths) != prod(_one(parts)):
            raise ValueError(f"{parts[0]} is not as many numbers as {self.lengths}")
        return self.lengths

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        return [whole.reshape(parts[0])]

    def join(self, parts: Sequence[Array]) -> Array:
        return _one(parts).reshape(self.lengths)


@dataclass(frozen=True, slots=True)
class Row(Layout):
    """With one more axis in front, of length 1, as BART's bias on the logits."""

    def shape(self, parts: Sequence[Shape]) -> Shape:
        return (1, *_one(parts))

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        del parts
        return [whole[0]]

    def join(self, parts: Sequence[Array]) -> Array:
        return _one(parts)[None]


@dataclass(frozen=True, slots=True)
class Paired(Layout):
    """Rows of each head in the order of the other style of rotation: theirs turn pairs ``(2i, 2i + 1)`` where ours
    turn ``(i, i + dim / 2)``, as in GGUF files of Llama.
    """

    heads: int

    def shape(self, parts: Sequence[Shape]) -> Shape:
        if self.heads < 1 or _one(parts)[0] % (2 * self.heads):
            raise ValueError(f"rows that are no pairs of {self.heads} heads")
        return parts[0]

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        del parts
        half = whole.shape[0] // (2 * self.heads)
        return [whole.reshape(self.heads, half, 2, *whole.shape[1:]).swapaxes(1, 2).reshape(whole.shape)]

    def join(self, parts: Sequence[Array]) -> Array:
        ours = _one(parts)
        half = ours.shape[0] // (2 * self.heads)
        return ours.reshape(self.heads, 2, half, *ours.shape[1:]).swapaxes(1, 2).reshape(ours.shape)


@dataclass(frozen=True, slots=True)
class Turned(Layout):
    """The second half of each head's rows before the first: a rotation the other way round is then one our way."""

    heads: int

    def shape(self, parts: Sequence[Shape]) -> Shape:
        if self.heads < 1 or _one(parts)[0] % (2 * self.heads):
            raise ValueError(f"rows that are no halves of {self.heads} heads")
        return parts[0]

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        del parts
        return [self._turned(whole)]

    def join(self, parts: Sequence[Array]) -> Array:
        return self._turned(_one(parts))

    def _turned(self, rows: Array) -> Array:
        half = rows.shape[0] // (2 * self.heads)
        return rows.reshape(self.heads, 2, half, *rows.shape[1:])[:, ::-1].reshape(rows.shape)


@dataclass(frozen=True, slots=True)
class Plus(Layout):
    """With a number added: GGUF files of Gemma hold ``1 + gain``. Of numbers in fp32; other formats would lose some."""

    number: float

    def shape(self, parts: Sequence[Shape]) -> Shape:
        return _one(parts)

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        del parts
        return [whole - whole.dtype.type(self.number)]

    def join(self, parts: Sequence[Array]) -> Array:
        ours = _one(parts)
        return ours + ours.dtype.type(self.number)


@dataclass(frozen=True, slots=True)
class Without(Layout):
    """Without the first rows, that no token reads: GGUF files of RoBERTa lack those of padding. They come back as 0."""

    rows: int

    def shape(self, parts: Sequence[Shape]) -> Shape:
        if not 0 <= self.rows < _one(parts)[0]:
            raise ValueError(f"{parts[0][0]} rows without the first {self.rows}")
        return (parts[0][0] - self.rows, *parts[0][1:])

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        return [np.concatenate([np.zeros((self.rows, *parts[0][1:]), whole.dtype), whole])]

    def join(self, parts: Sequence[Array]) -> Array:
        return _one(parts)[self.rows :]


@dataclass(frozen=True, slots=True)
class Chain(Layout):
    """One layout of another: the first is the outermost."""

    steps: tuple[Layout, ...]

    def shape(self, parts: Sequence[Shape]) -> Shape:
        for step in reversed(self.steps):
            parts = [step.shape(parts)]
        return parts[0]

    def split(self, whole: Array, parts: Sequence[Shape]) -> list[Array]:
        shapes: list[Sequence[Shape]] = [parts]
        for step in reversed(self.steps[1:]):
            shapes.append([step.shape(shapes[-1])])
        arrays = [whole]
        for step, shape in zip(self.steps, reversed(shapes), strict=True):
            arrays = step.split(arrays[0], shape)
        return arrays

    def join(self, parts: Sequence[Array]) -> Array:
        for step in reversed(self.steps):
            parts = [step.join(parts)]
        return parts[0]


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value} is no whole number")
    return value


LAYOUTS: dict[str, Callable[[Any], Layout]] = {
    "transpose": lambda _: Transposed(),
    "concat": lambda axis: Concatenated(0 if axis is None else _integer(axis)),
    "interleave": lambda axis: Interleaved(0 if axis is None else _integer(axis)),
    "per_group": lambda groups: PerGroup(_integer(groups)),
    "shape": lambda lengths: Shaped(tuple(_integer(each) for each in lengths)),
    "row": lambda _: Row(),
    "pairs": lambda heads: Paired(_integer(heads)),
    "halves": lambda heads: Turned(_integer(heads)),
    "plus": lambda number: Plus(float(number)),
    "without": lambda rows: Without(_integer(rows)),
}
"""The layouts that a mapping file may name, with what stands after the name."""


def layout_of(written: Any) -> Layout:
    """The layout of a word, of ``{word: argument}``, or of a list of these from theirs to ours.

    Raises:
        ValueError: there is none such.
    """
    if written is None:
        return Same()
    if isinstance(written, list):
        return Chain(tuple(layout_of(each) for each in cast("list[Any]", written)))
    name, argument = (
        (written, None) if isinstance(written, str) else next(iter(cast("dict[str, Any]", written).items()))
    )
    if name not in LAYOUTS:
        raise ValueError(f"no layout {name}; there are {', '.join(LAYOUTS)}")
    return LAYOUTS[name](argument)
