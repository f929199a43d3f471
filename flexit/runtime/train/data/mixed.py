"""Examples of several sources in one pass, by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train.data.examples import Examples, Indices
from flexit.runtime.train.data.parts import Part
from flexit.runtime.train.data.split import NOTHING, Settled, in_several, kept_rows, kept_tokens
from flexit.runtime.train.data.store import Store

_OWN = 1
"""Keeps the random numbers of the order of a source apart from those of batches."""


class Mixed(Examples):
    """Examples of several sources.

    A pass has as many as the sources have together, of each its weight's share. A source is gone through in an order
    of its own, pass after pass of it, from where the pass before has left it.

    Attributes:
        counts: examples of each source in a pass.
    """

    def __init__(self, parts: Sequence[Examples], weights: Sequence[float]) -> None:
        """A mixture.

        Args:
            parts: examples of one task, each source's; none is empty.
            weights: of each source, above 0.
        """
        self._parts = list(parts)
        sizes = [len(part) for part in parts]
        self._begins = np.cumsum([0, *sizes])
        self.counts = shares(weights, sum(sizes))

    def __len__(self) -> int:
        return int(self._begins[-1])

    @property
    def lengths(self) -> npt.NDArray[Any] | None:
        found = [part.lengths for part in self._parts]
        known = [each for each in found if each is not None]
        return np.concatenate(known) if len(known) == len(found) else None

    def rows(self, chosen: Indices) -> Sequence[Any]:
        places = np.searchsorted(self._begins, chosen, side="right") - 1
        found: list[Any] = [None] * len(chosen)
        for number in np.unique(places):
            here = np.flatnonzero(places == number)
            taken = self._parts[number].rows(chosen[here] - self._begins[number])
            for index, row in zip(here, taken, strict=True):
                found[index] = row
        return found

    def collate(self, rows: Sequence[Any], key: tuple[int, ...]) -> dict[str, Tensor]:
        return self._parts[0].collate(rows, key)

    def order(self, rng: np.random.Generator, *, seed: int, number: int) -> Indices:
        drawn = [self._drawn(part, seed=seed, number=number) for part in range(len(self._parts))]
        return rng.permutation(np.concatenate(drawn))

    def _drawn(self, part: int, *, seed: int, number: int) -> Indices:
        """The examples of a source in a pass: so many of its endless order of its own."""
        size, count = len(self._parts[part]), int(self.counts[part])
        first, last = number * count, (number + 1) * count
        found = [np.zeros(0, np.int64)]
        for own in range(first // size, -(-last // size)):
            order = np.random.default_rng([seed, part, own, _OWN]).permutation(size)
            found.append(order[max(0, first - own * size) : last - own * size])
        return np.concatenate(found) + self._begins[part]

    def plain_order(self) -> Indices:
        """Each example once, those of each source spread evenly over all."""
        places = [(np.arange(len(part)) + 0.5) / len(part) for part in self._parts]
        return np.argsort(np.concatenate(places), kind="stable")


def mixed(parts: Sequence[Part], examples: Sequence[Examples]) -> Examples:
    """What is trained on.

    Args:
        parts: the sources.
        examples: of each.

    Raises:
        UserError: FX1603, a source of several has no rows; FX1510, its weight gives it none in a pass.
    """
    if len(parts) == 1:
        return examples[0]
    for part, each in zip(parts, examples, strict=True):
        if len(each) == 0:
            raise UserError.of(
                "FX1603", "too little data for a part of a mixture", path=part.leaf.path, expected="at least one row",
                found="none", cure="add data, leave the source out, or lower seq_len",
            )  # fmt: skip
    found = Mixed(examples, [part.leaf.weight for part in parts])
    for part, count in zip(parts, found.counts, strict=True):
        if count == 0:
            raise UserError.of(
                "FX1510", "the weight is so small that the source is never seen", path=part.leaf.path,
                expected=f"at least one of the {len(found)} rows of a pass",
                found=f"a share of {part.leaf.weight:.2g}", cure="raise its weight, or leave the source out",
            )  # fmt: skip
    return found


def held_out_alike(stores: Sequence[Store], share: float | None, *, joined: bool) -> list[Store]:
    """Stores that hold the same out of what several of them have, as the smallest that has it is split.

    Args:
        stores: of the sources.
        share: of each, held out; None: nothing.
        joined: whether documents are joined, so that tokens are split and not rows.
    """
    found = list(stores)
    if share is None or len(stores) < 2:
        return found
    shared = in_several([store.hashes for store in stores])
    known = NOTHING
    for index in sorted(range(len(stores)), key=lambda each: len(stores[each])):
        store = found[index] = replace(stores[index], settled=known)
        if joined:
            kept = kept_tokens(store.columns["ids"], store.hashes, share, settled=known)
        else:
            kept = kept_rows(store.hashes, share, settled=known)
        own, first = np.unique(store.hashes, return_index=True)
        here = np.isin(own, shared) & ~known.known(own)[0]
        hashes = np.concatenate([known.hashes, own[here]])
        order = np.argsort(hashes)
        known = Settled(hashes[order], np.concatenate([known.kept, kept[first[here]]])[order])
    return found


def in_turn(examples: Sequence[Examples]) -> Examples:
    """What is looked at: the examples of all sources, each once, whatever the weights."""
    there = [each for each in examples if len(each)]
    return Mixed(there, [1.0] * len(there)) if len(there) > 1 else (there or list(examples))[0]


def shares(weights: Sequence[float], total: int) -> npt.NDArray[np.int64]:
    """A number as a sum of whole numbers in the ratio of weights, by largest remainders (Hamilton's method)."""
    exact = np.asarray(weights, np.float64) / np.sum(weights) * total
    found = np.floor(exact).astype(np.int64)
    for index in np.argsort(found - exact, kind="stable")[: total - int(found.sum())]:
        found[index] += 1
    return found
