"""Rows of tokens of which pieces are cut out, others each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from flexit.errors import UserError
from flexit.ir.analysis.cost import position_limit
from flexit.runtime.train.data.examples import Examples, Indices
from flexit.runtime.train.data.inputs import end_and_start
from flexit.runtime.train.data.pairs import Pairs
from flexit.runtime.train.data.stream import Cut, Stream

if TYPE_CHECKING:
    from flexit.runtime.train.task import Setting

Ids = npt.NDArray[np.int64]


class Spans(Protocol):
    """How much is cut out, in how many pieces."""

    ratio: float

    def special_tokens(self, seq_len: int) -> list[str]:
        """Tokens that number the pieces."""
        ...


@dataclass(frozen=True, slots=True)
class Cutting:
    """How pieces are cut out of a row.

    Attributes:
        tokens: that are cut out of each row.
        numbers: ids of the tokens that number the pieces, one for each.
        end, start: ids of the tokens that end and begin a target.
    """

    tokens: int
    numbers: tuple[int, ...]
    end: int
    start: int

    @classmethod
    def of(cls, task: Spans, setting: Setting) -> Cutting:
        """That of a task, with the tokens of a tokenizer.

        Raises:
            UserError: FX1604, it has no separator, or not enough tokens that number pieces.
        """
        names = task.special_tokens(setting.seq_len)
        known = [setting.tokenizer.id_of(name) for name in names]
        lacking = [name for name, number in zip(names, known, strict=True) if number is None]
        if lacking:
            raise UserError.of(
                "FX1604", "the tokenizer has too few tokens that number pieces", path="data.tokenizer",
                expected=f"{len(names)}, {names[0]} to {names[-1]}", found=f"no {lacking[0]}",
                cure="train one (tokenizer: bpe), which gets them by itself, or raise mean_length",
            )  # fmt: skip
        cut = max(len(names), round(setting.seq_len * task.ratio))
        if setting.seq_len - cut < len(names):
            raise UserError.of(
                "FX1510", "too much is cut out", path="task.ratio", found=f"{cut} of {setting.seq_len} tokens",
                expected=f"at least {len(names)} tokens left, one before each piece",
                cure="lower ratio, or raise mean_length",
            )  # fmt: skip
        longest, limit = max(setting.seq_len - cut, cut) + len(names) + 1, position_limit(setting.program)
        if limit is not None and longest > limit:
            raise UserError.of(
                "FX1503", "longer than the model's table of positions", path="data.seq_len",
                expected=f"at most {limit} tokens with those that number pieces", found=str(longest),
                cure=f"set data.seq_len to {setting.seq_len - (longest - limit)} or less",
            )  # fmt: skip
        end, start = end_and_start(setting.tokenizer)
        numbers = tuple(number for number in known if number is not None)
        return cls(cut, numbers, end, start)

    def __call__(self, row: Ids, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """A row without its pieces, and the pieces; kept and cut tokens alternate, and a kept one comes first."""
        count = len(self.numbers)
        cut = _parts(self.tokens, count, rng)
        kept = _parts(len(row) - self.tokens, count, rng)
        source: list[Ids] = []
        target: list[Ids] = []
        at = 0
        for number, n_kept, n_cut in zip(self.numbers, kept, cut, strict=True):
            mark = np.asarray([number])
            source += [row[at : at + n_kept], mark]
            target += [mark, row[at + n_kept : at + n_kept + n_cut]]
            at += n_kept + n_cut
        end = np.asarray([self.end])
        return np.concatenate([*source, end]), np.concatenate([*target, end])


class CutSpans(Examples):
    """Sources and targets of joined documents; see :class:`~flexit.runtime.train.data.pairs.Pairs` for a batch."""

    def __init__(self, stream: Stream, seq_len: int, cutting: Cutting) -> None:
        self._stream = stream
        self._seq_len = seq_len
        self._cutting = cutting
        self._collate = Pairs(cutting.start, cutting.start)

    def __len__(self) -> int:
        return self._stream.n_tokens // self._seq_len

    def rows(self, chosen: Indices) -> Sequence[Cut]:
        return self._stream.rows(chosen * self._seq_len, self._seq_len)

    def collate(self, rows: Sequence[Cut], key: tuple[int, ...]) -> dict[str, Tensor]:
        rng = np.random.default_rng(key)
        pairs = [self._cutting(row, rng) for row, _ in rows]
        return self._collate([{"source": source, "target": target} for source, target in pairs], rng)


def _parts(total: int, count: int, rng: np.random.Generator) -> list[int]:
    """A number as the sum of so many numbers of at least 1, each way as likely as any other."""
    borders = np.sort(rng.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff([0, *borders, total]).tolist()
