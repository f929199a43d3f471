"""What is learned: a task encodes records, makes batches of them, and has a loss."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from flexit.errors import UserError
from flexit.ir.block import Fault
from flexit.ir.language.kinds import Kind
from flexit.ir.program import Program
from flexit.ir.wording import nearest, several, shown
from flexit.runtime.metric import Evidence
from flexit.runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from flexit.runtime.train.config import Losses
    from flexit.runtime.train.data.examples import Examples
    from flexit.runtime.train.data.store import Row, Store
    from flexit.runtime.train.update.step import LossFn

TOKENIZER = "tokenizer.json"
DELIMITERS = (";", "\t", "|")
"""Of files of values whose first row is then one column."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a task works with.

    Attributes:
        program: of the model.
        tokenizers: by the file that each is kept in; ``tokenizer.json`` reads the input.
        seq_len: tokens per row, at most.
        columns: a task's own name of a column -> its name in the data, where that is another one.
        labels: names of classes, where the task has any.
        end: the id that ends documents which come as token ids.
    """

    program: Program
    tokenizers: Mapping[str, Tokenizer]
    seq_len: int
    columns: Mapping[str, str]
    labels: Sequence[str] = ()
    end: int | None = None

    @property
    def end_id(self) -> int | None:
        """The token that ends documents."""
        known = self.tokenizers.get(TOKENIZER)
        return self.end if known is None or known.separator_id is None else known.separator_id

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the input."""
        return self.tokenizers[TOKENIZER]

    def text(self, values: Mapping[str, Any], column: str, place: str) -> str:
        """The text in a column of a record.

        Raises:
            UserError: FX1610, there is no such column, or no text in it.
        """
        value = self.value(values, column, place)
        if not isinstance(value, str):
            raise self.unfit(column, place, expected="a text", found=shown(value)[:60])
        return self.sound(value, column, place)

    def sound(self, text: str, column: str, place: str) -> str:
        """A text that is one.

        Raises:
            UserError: FX1610, it has half of a surrogate pair, which JSON can write and which is no character.
        """
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            found = f"{text[error.start]!a} at {error.start}"
            raise self.unfit(column, place, expected="characters of Unicode", found=found) from None
        return text

    def value(self, values: Mapping[str, Any], column: str, place: str) -> Any:
        """What is in a column of a record.

        Raises:
            UserError: FX1610, there is no such column.
        """
        name = self.columns.get(column, column)
        if name not in values:
            raise UserError.of(
                "FX1610", f"{place} has no column {shown(name)}", path="data.columns", expected=f"a column {name}",
                found=several(list(values)[:8]) or "no columns",
                cure=_missing(column, name, list(values)),
            )  # fmt: skip
        return values[name]

    def unfit(self, column: str, place: str, *, expected: str, found: str) -> UserError:
        """What to raise for a record with something else in a column."""
        return UserError.of(
            "FX1610", f"{place}: the column {self.columns.get(column, column)} cannot be used", path="data.columns",
            expected=expected, found=found, cure="mend the record, or name another column under data.columns",
        )  # fmt: skip


def _missing(column: str, name: str, there: Sequence[str]) -> str:
    """What to do where records have other columns."""
    between = next((mark for mark in DELIMITERS if mark in there[0]), None) if len(there) == 1 else None
    if between is not None:
        return f"write delimiter: {json.dumps(between)} beside files"
    near = nearest(name, there)
    if near is not None:
        return f"write columns: {{{column}: {near if near.isidentifier() else shown(near)}}} under data"
    return f"mend the record, or name the column that has it: columns: {{{column}: NAME}} under data"


class Task(Kind, family="Task", package="flexit.runtime.train.tasks"):
    """What is learned."""

    columns: ClassVar[Mapping[str, str]] = {"text": "the text"}
    """Columns that records must have, and what is in them."""
    optional: ClassVar[Mapping[str, str]] = {}
    """Columns that records may have."""
    by: ClassVar[tuple[str, ...]] = ("ids",)
    """Columns of what is encoded that are given, not wanted: where they are equal, rows are held out together."""
    generates: ClassVar[bool] = False
    """Whether the model makes texts, of prompts or of sources."""
    scores: ClassVar[bool] = True
    """Whether classes or tokens are chosen by their scores, on which there may be a z-loss."""
    joins: ClassVar[bool] = False
    """Whether documents are joined and cut into rows, so that what is encoded depends on no length of rows."""
    unit: ClassVar[str] = "nats per label"
    """Of the loss."""
    classes: ClassVar[bool] = False
    """Whether it tells classes apart, which have names."""
    shows: ClassVar[tuple[Evidence, ...]] = ()
    """What evaluations see of it, which metrics are told from; what comes first counts where one reads several."""
    metrics: ClassVar[tuple[str, ...]] = ()
    """The usual ones."""
    special: ClassVar[bool] = True
    """Whether it needs tokens that only a tokenizer knows."""
    tokenizers: ClassVar[Mapping[str, str]] = {TOKENIZER: "data.tokenizer"}
    """The file that each tokenizer is kept in, and where a run config describes it."""

    def shown(self, *, texts: bool) -> tuple[Evidence, ...]:
        """What evaluations see: without a tokenizer, no bytes of texts."""
        return self.shows if texts else tuple("likelihood" if each == "bytes" else each for each in self.shows)

    def misfits(self, program: Program) -> Iterator[Fault]:
        """What of a model stands against learning this with it."""
        raise NotImplementedError

    def rows(self, program: Program) -> dict[str, int]:
        """Ids that a model knows, by the file of the tokenizer that makes them."""
        raise NotImplementedError

    def special_tokens(self, seq_len: int) -> list[str]:
        """Tokens that no text becomes and that a tokenizer which is trained gets for this task."""
        del seq_len
        return []

    def settled(self, tokenizer: Tokenizer, *, file: str) -> Tokenizer:
        """A tokenizer as a model of this task reads texts with it, which is how it is kept with the model."""
        del file
        return tokenizer

    def texts(self, values: Mapping[str, Any], setting: Setting, place: str, *, file: str) -> Iterator[str]:
        """What of a record the tokenizer in ``file`` learns from."""
        del file
        yield setting.text(values, "text", place)

    def names(self, values: Mapping[str, Any], setting: Setting, place: str) -> Iterator[str]:
        """The classes that a record names."""
        del values, setting, place
        yield from ()

    def unfit_labels(self, setting: Setting) -> Iterator[Fault]:
        """What stands against the classes that the data has."""
        del setting
        yield from ()

    def generation(self, setting: Setting) -> Mapping[str, int] | None:
        """What begins, ends and pads a text, for a model that continues texts."""
        del setting
        return None

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        """A record as columns of numbers, the same columns for each.

        Raises:
            UserError: FX1610, the record lacks a column or has something else in it.
        """
        raise NotImplementedError

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Examples, Examples]:
        """What is trained on, and what of it is held out.

        Args:
            store: what :meth:`encode` gave.
            setting: as there.
            share: held out; None: nothing.
        """
        raise NotImplementedError

    def loss(self, losses: Losses) -> LossFn:
        """What is minimised, with the weights of side terms: cross-entropy unless the task says otherwise."""
        from flexit.runtime.train.update.loss import CrossEntropy

        return CrossEntropy(
            router_balance=losses.router_balance, router_z=losses.router_z, z_loss=losses.z_loss, chunk=losses.chunk,
            label_smoothing=getattr(self, "label_smoothing", 0.0),
        )  # fmt: skip
