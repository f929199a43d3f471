"""Texts as the inputs of a model that reads each as one row: ids, token types where it takes them, and a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexit.ir.analysis.limits import limits_of
from flexit.ir.block import Fault
from flexit.ir.program import Input, Program
from flexit.runtime.tasks.text_model import TYPES
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.store import Row
from flexit.runtime.train.task import Setting

PADS = ("[PAD]", "<pad>", "<|pad|>")
"""Tokens that fill rows, as tokenizers call them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The names of a model's inputs for one text, and the token that fills its rows.

    Attributes:
        ids, mask: names.
        types: name of the token types, or None where the model has none.
        pad: token id that fills rows; it is masked.
    """

    ids: str
    mask: str
    types: str | None
    pad: int

    @classmethod
    def of(cls, setting: Setting) -> Inputs:
        """Those of the model that a setting is for."""
        ids, types = _ids(setting.program)
        mask = next(each.name for each in setting.program.inputs if each.role == "mask" and each.group == ids.group)
        return cls(ids.name, mask, types, pad_of(setting.tokenizer))


def pad_of(tokenizer: Tokenizer) -> int:
    """What fills rows: the tokenizer's own token for it, else its separator, else 0."""
    known = [number for name in PADS if (number := tokenizer.id_of(name)) is not None]
    return known[0] if known else tokenizer.separator_id or 0


def one_text(program: Program, task: str) -> Iterator[Fault]:
    """What stands against reading one text a row."""
    needed = [entry.name for entry in program.inputs if not entry.optional]
    ids = [entry for entry in program.inputs if entry.role == "ids" and entry.name not in TYPES]
    if len(ids) != 1 or set(needed) - {ids[0].name, *TYPES}:
        yield Fault(
            code="FX0801", field="", message=f"the model cannot do {task}",
            expected="one input of tokens, and token types at most", found=f"its inputs are {', '.join(needed)}",
            cure="name another model, such as tiny-bert-classifier, or train this one in Python with flexit.Trainer",
        )  # fmt: skip


def token_rows(program: Program, *, scored: bool) -> int:
    """Ids that a model of one text a row knows: those of its table, and those of its scores if it predicts tokens."""
    table = limits_of(program).ids.get(_ids(program)[0].name)
    known = [] if table is None else [table]
    if scored and isinstance(last := program.outputs["logits"].dims[-1], int):
        known.append(last)
    return min(known, default=2**31 - 1)


def read(values: Mapping[str, Any], setting: Setting, place: str, *, column: str = "text") -> Row:
    """The text of a record, or its pair of texts, as the tokenizer's template has it; cut at ``seq_len`` tokens."""
    text: Any = setting.text(values, column, place)
    if column == "text" and setting.columns.get("text_pair", "text_pair") in values:
        text = (text, setting.text(values, "text_pair", place))
    (found,) = setting.tokenizer.read([text], limit=setting.seq_len)
    if not found.ids:
        raise setting.unfit(column, place, expected="a text of at least one token", found="none")
    row = {"ids": np.asarray(found.ids, small(setting.tokenizer))}
    if _ids(setting.program)[1] is not None:
        row["types"] = np.asarray(found.type_ids, np.uint8)
    return row


def read_words(words: Sequence[str], setting: Setting, place: str) -> tuple[Row, list[int | None]]:
    """A text in words, cut at ``seq_len`` tokens, and the word that each token is of; special ones are of none."""
    found = setting.tokenizer.read_words(words, limit=setting.seq_len)
    if not found.ids:
        raise setting.unfit("tokens", place, expected="words of at least one token", found="none")
    row = {"ids": np.asarray(found.ids, small(setting.tokenizer))}
    if _ids(setting.program)[1] is not None:
        row["types"] = np.asarray(found.type_ids, np.uint8)
    return row, list(found.word_ids)


def document(values: Mapping[str, Any], setting: Setting, place: str) -> Row:
    """The text of a record as ids, and the separator after it."""
    tokenizer = setting.tokenizer
    end = [] if tokenizer.separator_id is None else [tokenizer.separator_id]
    ids = [*tokenizer.encode(setting.text(values, "text", place)), *end]
    return {"ids": np.asarray(ids, small(tokenizer))}


def small(tokenizer: Tokenizer) -> type[np.unsignedinteger[Any]]:
    """The type that holds its ids in the fewest bytes."""
    return np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32


def _ids(program: Program) -> tuple[Input, str | None]:
    """The input of tokens, and the name of the token types."""
    ids = next(entry for entry in program.inputs if entry.role == "ids" and entry.name not in TYPES)
    return ids, next((entry.name for entry in program.inputs if entry.name in TYPES), None)
