"""Texts as the inputs of a model that reads each as one row: ids, token types where it takes them, and a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from flexit.errors import UserError
from flexit.ir.analysis.limits import limits_of
from flexit.ir.block import Fault
from flexit.ir.program import Input, Program
from flexit.runtime.tasks.text_model import TYPES
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.inputs import Inputs, pad_of
from flexit.runtime.train.data.store import Row
from flexit.runtime.train.task import Setting


def inputs_of(setting: Setting) -> Inputs:
    """Names and filling of the inputs of the model that a setting is for."""
    ids, types = _ids(setting.program)
    mask = next(each.name for each in setting.program.inputs if each.role == "mask" and each.group == ids.group)
    return Inputs(ids.name, mask, types, pad_of(setting.tokenizer))


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
    if column == "text" and _has_pair(values, setting, place):
        text = (text, setting.text(values, "text_pair", place))
    _require_room(setting, pair=isinstance(text, tuple))
    (found,) = setting.tokenizer.read([text], limit=setting.seq_len)
    return _row(found, setting, place=place, column=column)


def read_words(words: Sequence[str], setting: Setting, place: str) -> tuple[Row, list[int | None]]:
    """A text in words, cut at ``seq_len`` tokens, and the word that each token is of; special ones are of none."""
    _require_room(setting, pair=False)
    found = setting.tokenizer.read_words(words, limit=setting.seq_len)
    return _row(found, setting, place=place, column="tokens"), list(found.word_ids)


def _has_pair(values: Mapping[str, Any], setting: Setting, place: str) -> bool:
    """Whether a record has a second text; a column for it that the run config names must be there, and null is none."""
    if "text_pair" in setting.columns:
        return setting.value(values, "text_pair", place) is not None
    return values.get("text_pair") is not None


def _require_room(setting: Setting, *, pair: bool) -> None:
    """Raise where the tokens that the template adds leave no room for one of a text.

    Raises:
        UserError: FX1510.
    """
    added = setting.tokenizer.added_to(pair=pair)
    needed = added + 1 + pair
    if setting.seq_len < needed:
        raise UserError.of(
            "FX1510", f"no room for {'two texts' if pair else 'a text'} beside the tokens that the tokenizer adds",
            path="data.seq_len", expected=f"at least {needed}", found=str(setting.seq_len),
            cure=f"set data.seq_len to {max(needed, 16)} or more",
        )  # fmt: skip


def _row(found: Any, setting: Setting, *, place: str, column: str) -> Row:
    """What a tokenizer made of a text, as columns.

    Raises:
        UserError: FX1610, there is no token, or one of a type that the model has no row for.
    """
    if not found.ids:
        raise setting.unfit(column, place, expected="a text of at least one token", found="none")
    row = {"ids": np.asarray(found.ids, small(setting.tokenizer))}
    types = _ids(setting.program)[1]
    if types is not None:
        known = _types_known(setting.program, types)
        if max(found.type_ids) >= known:
            raise setting.unfit(
                column, place, expected=f"token types below {known}, the rows of the model's table of {types}",
                found=f"{max(found.type_ids)}, as the tokenizer writes for a second text",
            )  # fmt: skip
        row["types"] = np.asarray(found.type_ids, np.uint8)
    return row


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


@lru_cache(maxsize=4)
def _types_known(program: Program, name: str) -> int:
    """Token types that a model has rows for."""
    return limits_of(program).ids.get(name, 256)
