"""Rows of tokens under another vocabulary: each token keeps its row, whatever its id is now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexit.errors import UserError
from flexit.runtime.transfer.widths import Index

TOKENIZER, GENERATION = "tokenizer.json", "generation_config.json"


@dataclass(frozen=True, slots=True)
class Rows:
    """Which row of the old table each row of the new one is.

    Attributes:
        index: for each new row the old one, or -1.
        by: ``token`` or ``id``.
        left: old rows that no new one is.
    """

    index: Index
    by: str
    left: int

    @property
    def new(self) -> int:
        """Rows of the new table that the old one has not."""
        return int((self.index < 0).sum())


def by_id(n_old: int, n_new: int) -> Rows:
    """Rows keep their numbers: the new vocabulary begins with the old one, or the old with the new."""
    entries = np.arange(n_new)
    return Rows(np.where(entries < n_old, entries, -1), "id", max(0, n_old - n_new))


def by_token(old: Mapping[str, int], new: Mapping[str, int], *, n_old: int, n_new: int) -> Rows:
    """Rows go with their tokens; rows without a token in either vocabulary keep their numbers.

    Args:
        old: id of each token in the old vocabulary.
        new: id of each token in the new one.
        n_old: rows of the old table.
        n_new: rows of the new table.

    Raises:
        UserError: FX2203, the new tokenizer has more ids than the table has rows.
    """
    most = max(new.values(), default=-1) + 1
    if most > n_new:
        raise UserError.of(
            "FX2203", "the tokenizer has more ids than the model has rows", path="tokenizer",
            expected=f"at most {n_new}", found=str(most), cure=f"give the model a vocab_size of {most} or more",
        )  # fmt: skip
    index = np.full(n_new, -1, np.intp)
    unnamed_old, unnamed_new = set(range(n_old)) - {*old.values()}, set(range(n_new)) - {*new.values()}
    for row in unnamed_old & unnamed_new:
        index[row] = row
    for token, row in new.items():
        if 0 <= (source := old.get(token, -1)) < n_old:
            index[row] = source
    return Rows(index, "token", n_old - len({*index[index >= 0].tolist()}))


def tokens_in(content: bytes, place: str) -> dict[str, int]:
    """Id of each token that a ``tokenizer.json`` has.

    Raises:
        UserError: FX2203, it is none.
    """
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(content.decode("utf-8")).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises bare Exception
        raise UserError.of(
            "FX2203", f"{place} is no tokenizer", path="tokenizer", expected="a tokenizer.json",
            found=str(error).splitlines()[0][:100], cure="give a file that the tokenizers library saved",
        ) from error  # fmt: skip


def meant(rows: NDArray[Any], index: Index, old: NDArray[Any]) -> NDArray[Any]:
    """Rows with those that are new replaced by the mean of what was there (Hewitt 2021; transformers does alike).

    Args:
        rows: the new table or bias.
        index: of :class:`Rows`.
        old: the old one, if it is as wide; else the rows that were carried over count.
    """
    known = index >= 0
    counted = old if old.shape[1:] == rows.shape[1:] else rows[known]
    rows[~known] = counted.mean(axis=0, dtype=np.float64)
    return rows


def renumbered(files: dict[str, bytes], old: Mapping[str, int], new: Mapping[str, int]) -> list[str]:
    """``generation_config.json`` with the ids that its tokens have now; what has none is left out.

    Returns:
        The keys that are left out.
    """
    if GENERATION not in files:
        return []
    tokens = {row: token for token, row in old.items()}
    given: dict[str, Any] = json.loads(files[GENERATION])
    lost: list[str] = []
    for key in [key for key in given if key.endswith(("token_id", "token_ids"))]:
        value = given[key]
        ids = value if isinstance(value, list) else [value]
        moved = [new.get(tokens.get(each, "")) for each in ids]
        if value is None:
            continue
        if any(each is None for each in moved):
            lost.append(key)
            del given[key]
        else:
            given[key] = moved if isinstance(value, list) else moved[0]
    files[GENERATION] = json.dumps(given, indent=2).encode()
    return lost
