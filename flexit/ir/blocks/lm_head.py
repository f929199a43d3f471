"""``lm_head``: scores over a vocabulary, from a token table or from a map of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Fault, Inferred, Surroundings
from flexit.ir.edges import Logits, Sequence
from flexit.ir.expander import Expander
from flexit.ir.language import InferredInt, PositiveFloat
from flexit.ir.program import Value


class LmHead(Block, kind="lm_head"):
    """multiplier * (table . (input_multiplier * x) + bias)."""

    output: ClassVar[EdgeName | Literal["same"]] = "logits"
    later: ClassVar[tuple[str, ...]] = ("projection", "softcap")
    examples = (
        {"kind": "lm_head", "vocab_size": 31},
        {"kind": "lm_head", "vocab_size": 31, "bias": True, "multiplier": 0.5},
    )

    vocab_size: InferredInt = None
    """Classes; inferred from tied_to, else from the graph's only token table."""
    tied_to: str | None = None
    """Use that embedding's table."""
    bias: bool = False
    """One learned number per class."""
    input_multiplier: PositiveFloat | Literal["rsqrt_d_model"] = 1.0
    """On the input (T5 v1.0, MiniCPM)."""
    multiplier: PositiveFloat = 1.0
    """On the logits (Cohere, Granite)."""

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        owner = self.tied_to or next(iter(around.tables), "")
        if self.vocab_size is None and owner in around.tables:
            yield Inferred("vocab_size", around.tables[owner].rows, f"from {owner}")

    def expand(self, e: Expander, x: Sequence) -> Logits:
        factor = x.width**-0.5 if self.input_multiplier == "rsqrt_d_model" else self.input_multiplier
        h = e.mul(x.x, factor)
        logits = self._tied(e, h, self.tied_to) if self.tied_to is not None else self._own(e, h)
        return Logits(x=e.mul(logits, self.multiplier))

    def _tied(self, e: Expander, h: Value, owner: str) -> Value:
        table = e.table(self, owner)
        width = h.dims[-1]
        if table.width != width:
            e.refuse(self, Fault(
                code="FX0702", field="tied_to", message="width of the table is not the width at the head",
                expected=f"a table of width {width}, the width of x", found=f"{table.width} ({owner})",
                cure=f"put a linear with d_out: {table.width} before the head",
            ))  # fmt: skip
        if self.vocab_size is not None and self.vocab_size != table.rows:
            e.refuse(self, Fault(
                code="FX0702", field="vocab_size", message="is fixed by tied_to",
                expected=f"{table.rows}, the rows of {owner}", found=str(self.vocab_size), cure="delete vocab_size",
            ))  # fmt: skip
        return e.tied_linear(h, table, bias="bias" if self.bias else None)

    def _own(self, e: Expander, h: Value) -> Value:
        rows = {table.rows for table in e.tables.values()}
        if self.vocab_size is None and len(e.tables) != 1:
            e.refuse(self, Fault(
                code="FX0704", field="vocab_size", message="cannot be inferred",
                expected="tied_to, or exactly one token table in the graph",
                found=f"the tables of {', '.join(e.tables)}" if e.tables else "no token table",
                cure="write vocab_size or tied_to",
            ))  # fmt: skip
        d_out = self.vocab_size if self.vocab_size is not None else rows.pop()
        return e.linear(h, d_out, "table", role="head", bias_name="bias" if self.bias else None)
