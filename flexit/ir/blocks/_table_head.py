"""Scores over a vocabulary, from a token table that an embedding owns or from one of the head's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Fault, Inferred, Surroundings
from flexit.ir.expansion.expander import Expander, Table
from flexit.ir.language.kinds import InferredInt
from flexit.ir.program import Value


class TableHead(Block):
    """What heads over a vocabulary share."""

    output: ClassVar[EdgeName | Literal["same"]] = "logits"

    vocab_size: InferredInt = None
    """Classes; inferred from tied_to, else from the graph's only token table."""
    tied_to: str | None = None
    """Use that embedding's table."""

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        owner = self.tied_to or next(iter(around.tables), "")
        if self.vocab_size is None and owner in around.tables:
            yield Inferred("vocab_size", around.tables[owner].rows, f"from {owner}")

    def table(self, e: Expander) -> Table | None:
        """The table that the head is tied to, if it is.

        Raises:
            Unexpanded: there is none, or it has other rows than are written.
        """
        if self.tied_to is None:
            return None
        table = e.table(self, self.tied_to)
        if self.vocab_size is not None and self.vocab_size != table.rows:
            e.refuse(self, Fault(
                code="FX0702", field="vocab_size", message="is fixed by tied_to",
                expected=f"{table.rows}, the rows of {self.tied_to}", found=str(self.vocab_size),
                cure="delete vocab_size",
            ))  # fmt: skip
        return table

    def scores(self, e: Expander, h: Value, *, bias: bool, widened: tuple[str, str]) -> Value:
        """``table . h + bias``.

        Args:
            e: what the ops are written with.
            h: as wide as the table, where there is one.
            bias: whether there is one number per class to add.
            widened: the field that decides the width of ``h``, and what to do where it is another than the table's.

        Raises:
            Unexpanded: the widths differ, or nothing says how many classes there are.
        """
        table, bias_name = self.table(e), "bias" if bias else None
        if table is None:
            return e.linear(h, self._own_rows(e), "table", role="head", bias_name=bias_name)
        if table.width != h.dims[-1]:
            field, cure = widened
            e.refuse(self, Fault(
                code="FX0702", field=field, message="width of the table is not the width at the head",
                expected=f"{table.width}, the width of the table of {self.tied_to}", found=str(h.dims[-1]),
                cure=cure.format(width=table.width),
            ))  # fmt: skip
        return e.tied_linear(h, table, bias=bias_name)

    def _own_rows(self, e: Expander) -> int:
        if self.vocab_size is not None:
            return self.vocab_size
        if len(e.tables) != 1:
            e.refuse(self, Fault(
                code="FX0704", field="vocab_size", message="cannot be inferred",
                expected="tied_to, or exactly one token table in the graph",
                found=f"the tables of {', '.join(e.tables)}" if e.tables else "no token table",
                cure="write vocab_size or tied_to",
            ))  # fmt: skip
        return next(iter(e.tables.values())).rows
