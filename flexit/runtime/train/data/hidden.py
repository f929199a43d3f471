"""Rows of tokens of which some are hidden, others each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.tasks.fill_mask import MASKS
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.examples import Examples, Indices
from flexit.runtime.train.data.inputs import Inputs
from flexit.runtime.train.data.stream import Cut, Packing, Stream, blocks
from flexit.runtime.train.update.loss import IGNORED


class Shares(Protocol):
    """How many tokens are hidden, and what becomes of them."""

    ratio: float
    masked: float
    random: float
    whole_words: bool


class Hiding:
    """Which tokens are hidden, and how."""

    def __init__(
        self, task: Shares, *, mask: int, words: npt.NDArray[np.bool_], specials: npt.NDArray[np.bool_]
    ) -> None:  # fmt: skip
        """A way of hiding.

        Args:
            task: the shares.
            mask: id of the mask token.
            words: of each id, whether it begins a word.
            specials: of each id, whether it is special, and never hidden.
        """
        self.ratio, self.masked, self.random = task.ratio, task.masked, task.random
        self.mask, self.words, self.specials = mask, words, specials
        self.choices = np.flatnonzero(~specials)

    @classmethod
    def of(cls, task: Shares, tokenizer: Tokenizer) -> Hiding:
        """The way of a task with the tokens of a tokenizer.

        Raises:
            UserError: FX1604, it has no token that hides another.
        """
        known = [number for name in MASKS if (number := tokenizer.id_of(name)) is not None]
        if not known:
            raise UserError.of(
                "FX1604", "the tokenizer has no token that hides another", path="data.tokenizer",
                expected=f"one of {', '.join(MASKS)}", found="none",
                cure="write tokenizer: wordpiece, or specials: [<mask>] for one that is trained",
            )  # fmt: skip
        size = tokenizer.vocab_size
        specials = np.zeros(size, bool)
        specials[list(tokenizer.specials.values())] = True
        words = word_starts(tokenizer) | specials if task.whole_words else np.ones(size, bool)
        if not words[~specials].any():
            raise UserError.of(
                "FX1510", "the tokenizer does not mark where words begin", path="task.whole_words",
                expected="tokens with the mark of a space, or pieces that begin with ##", found="neither",
                cure="write whole_words: false, or tokenizer: bpe or wordpiece",
            )  # fmt: skip
        return cls(task, mask=known[0], words=words, specials=specials)

    def __call__(self, ids: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Hide tokens of rows ``int64 [batch, seq_len]``, in place; which ones are to be found again."""
        begins = self.words[ids]
        begins[:, 0] = True
        word = np.cumsum(begins, axis=1) - 1
        drawn = np.take_along_axis(rng.random(ids.shape), word, axis=1)  # one number for all pieces of a word
        chosen = (drawn < self.ratio) & ~self.specials[ids]
        for row in np.flatnonzero(~chosen.any(axis=1)):  # so that each row teaches something
            free = np.flatnonzero(~self.specials[ids[row]])
            if len(free):
                chosen[row, rng.choice(free)] = True
        fate = rng.random(ids.shape)
        other = self.choices[rng.integers(0, len(self.choices), ids.shape)]
        ids[chosen & (fate < self.masked)] = self.mask
        replaced = chosen & (fate >= self.masked) & (fate < self.masked + self.random)
        ids[replaced] = other[replaced]
        return chosen


class HiddenTokens(Examples):
    """Rows of ids and ``labels``, each int64 ``[batch, seq_len]``; tokens that are to be found are labels."""

    def __init__(
        self, stream: Stream, seq_len: int, *, packing: Packing, hiding: Hiding, inputs: Inputs
    ) -> None:  # fmt: skip
        self._stream = stream
        self._seq_len = seq_len
        self._packing = packing
        self._hiding = hiding
        self._inputs = inputs

    def __len__(self) -> int:
        return self._stream.n_tokens // self._seq_len

    def rows(self, chosen: Indices) -> Sequence[Cut]:
        return self._stream.rows(chosen * self._seq_len, self._seq_len)

    def collate(self, rows: Sequence[Cut], key: tuple[int, ...]) -> dict[str, Tensor]:
        ids, documents = blocks(rows)
        labels = ids.copy()
        hidden = self._hiding(ids, np.random.default_rng(key))
        labels[~hidden] = IGNORED
        batch = {self._inputs.ids: torch.from_numpy(ids), "labels": torch.from_numpy(labels)}
        if self._inputs.types is not None:
            batch[self._inputs.types] = torch.zeros_like(batch[self._inputs.ids])
        return {**batch, **self._packing.inputs(documents)}


def word_starts(tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """Of each id, whether it begins a word.

    In WordPiece it does unless it begins with ``##``; in byte-level vocabularies and those of SentencePiece if it
    begins with the mark of a space.
    """
    names = [tokenizer.token_of(number) for number in range(tokenizer.vocab_size)]
    if any(name.startswith("##") and len(name) > 2 for name in names):
        return np.asarray([not name.startswith("##") for name in names])
    return np.asarray([name.startswith(("\u0120", "\u2581", "\u010a")) for name in names])
