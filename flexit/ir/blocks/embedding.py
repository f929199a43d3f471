"""``embedding``: token rows, plus positions and token types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Fault, Inferred, Norm, Port, Surroundings, TokenTable
from flexit.ir.edges import Sequence, Tokens
from flexit.ir.expander import Expander
from flexit.ir.language import InferredInt, PositiveFloat, PositiveInt, Probability
from flexit.ir.positions.base import Position
from flexit.ir.program import Value


class Embedding(Block, kind="embedding"):
    """Rows of a table x multiplier, + positions, + token types; then norm and dropout."""

    inputs: ClassVar[Mapping[str, Port]] = {
        "tokens": Port(("tokens",)),
        "token_types": Port(("tokens",), optional=True, chains=False),
    }
    output: ClassVar[EdgeName | Literal["same"]] = "sequence"
    later: ClassVar[tuple[str, ...]] = ("projection", "token_dropout")
    examples = (
        {"kind": "embedding", "vocab_size": 31, "d_model": 16},
        {
            "kind": "embedding", "vocab_size": 31, "d_model": 16, "position": {"kind": "learned", "max_len": 40},
            "norm": "layer_norm", "dropout": 0.1, "multiplier": "sqrt_d_model",
        },
        {"kind": "embedding", "vocab_size": 31, "d_model": 16, "position": "sinusoidal", "token_types": 1},
        {"kind": "embedding", "vocab_size": 31, "d_model": 16, "token_types": 2},
    )  # fmt: skip

    vocab_size: InferredInt = None
    """Rows of the table; required unless tied_to."""
    d_model: InferredInt = None
    """Output width; required unless tied_to."""
    multiplier: PositiveFloat | Literal["sqrt_d_model"] = 1.0
    """On the token rows, before anything is added."""
    position: Position | None = None
    """Additive position table."""
    token_types: PositiveInt | None = None
    """Rows of a segment table; 1 adds one constant row, 2 or more need the port token_types."""
    norm: Norm | None = None
    """Normalisation."""
    norm_at: Literal["token", "sum", "projected"] = "sum"
    """Before positions, after the sum, or after the projection."""
    dropout: Probability = 0.0
    """On the result."""
    tied_to: str | None = None
    """Use that embedding's table (and its vocab_size and d_model: do not write them)."""

    def token_table(self) -> TokenTable | None:
        if self.tied_to is not None or self.vocab_size is None or self.d_model is None:
            return None
        return TokenTable("tokens.weight", self.vocab_size, self.d_model)

    @property
    def max_len(self) -> int | None:
        return None if self.position is None else self.position.max_positions

    @property
    def orders(self) -> bool:
        return self.position is not None

    def check(self) -> Iterator[Fault]:
        yield from self._check_tie()
        if self.norm_at != "sum" and (self.norm is None or self.norm_at == "projected"):
            other = "norm is null" if self.norm is None else "there is no projection"
            yield Fault(
                code="FX0501", field="norm_at", message="has no effect", expected=f"sum, since {other}",
                found=self.norm_at, cure="delete norm_at",
            )  # fmt: skip
        if self.norm is not None and self.norm_at == "token" and self.position is None and self.token_types is None:
            yield Fault(
                code="FX0501", field="norm_at", message="has no effect",
                expected="sum, since nothing is added to the tokens", found="token", cure="delete norm_at",
            )  # fmt: skip
        if self.position is not None:
            yield from (replace(fault, field=f"position.{fault.field}") for fault in self.position.check())
            if self.d_model is not None:
                yield from self.position.check_width(self.d_model)

    def _check_tie(self) -> Iterator[Fault]:
        for name in ("vocab_size", "d_model"):
            value = getattr(self, name)
            if self.tied_to is None and value is None:
                yield Fault(
                    code="FX0202", field=name, message="required field is missing",
                    expected="an integer >= 1, such as " + ("32000" if name == "vocab_size" else "512"),
                    found="nothing", cure=f"add {name}, or tied_to: another embedding",
                )  # fmt: skip
            if self.tied_to is not None and value is not None:
                yield Fault(
                    code="FX0702", field=name, message="is fixed by tied_to",
                    expected=f"nothing: {name} is that of {self.tied_to}", found=str(value), cure=f"delete {name}",
                )  # fmt: skip

    def _check_tied_width(self, width: int) -> Iterator[Fault]:
        for fault in self.position.check_width(width) if self.position is not None else ():
            cure = "set d_model of that embedding so that it fits, or write another position here"
            yield replace(fault, field="tied_to", found=f"{width}, the width of {self.tied_to}", cure=cure)

    def check_ports(self, **ports: Tokens) -> Iterator[Fault]:
        wired = ports.get("token_types")
        if (self.token_types or 0) >= 2 and wired is None:
            yield Fault(
                code="FX0508", field="token_types", message="needs the port token_types",
                expected="token type ids for a table of 2 or more rows", found="no such port wired",
                cure="add from: {tokens: input_ids, token_types: token_type_ids} and the input token_type_ids: tokens",
            )  # fmt: skip
        if (self.token_types or 0) < 2 and wired is not None:
            yield Fault(
                code="FX0508", field="token_types", message="does not read the port token_types",
                expected="2 or more rows when the port is wired", found=str(self.token_types or "null").lower(),
                cure="set token_types to the number of types, or take the port out of from",
            )  # fmt: skip
        if wired is not None and wired.axis is not ports["tokens"].axis:
            yield Fault(
                code="FX0402", field="from", message="token_types has another length than tokens",
                expected=ports["tokens"].axis.described, found=wired.axis.described,
                cure="declare that input with like: the tokens input",
            )  # fmt: skip

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        table = around.tables.get(self.tied_to or "")
        if table is not None:
            yield Inferred("vocab_size", table.rows, f"from {self.tied_to}")
            yield Inferred("d_model", table.width, f"from {self.tied_to}")

    def expand(self, e: Expander, tokens: Tokens, token_types: Tokens | None = None) -> Sequence:
        if self.tied_to is not None:
            table = e.table(self, self.tied_to)
            width = e.draft.width = table.width
            e.refuse(self, *self._check_tied_width(width))
            x = e.tied_embedding(tokens.ids, table)
        else:
            assert self.vocab_size is not None and self.d_model is not None
            width = e.draft.width = self.d_model
            x = e.embedding(tokens.ids, "tokens", rows=self.vocab_size, width=width)
        x = self._multiplied(e, x, width)
        if self.norm is not None and self.norm_at == "token":
            x = self.norm.apply(e, x, "norm")
        x = self._with_types(e, x, token_types, width=width)
        if self.position is not None:
            x = e.add(x, e.like(self.position.expand(e, tokens.axis, width), x))
        if self.norm is not None and self.norm_at == "sum":
            x = self.norm.apply(e, x, "norm")
        return Sequence(x=e.dropout(x, self.dropout), axis=tokens.axis)

    def _multiplied(self, e: Expander, x: Value, width: int) -> Value:
        """The rows times the multiplier, which is rounded to their precision first, as Gemma does."""
        multiplier = width**0.5 if self.multiplier == "sqrt_d_model" else self.multiplier
        return x if multiplier == 1.0 else e.mul(x, e.like(e.constant([multiplier], (1,)), x))

    def _with_types(self, e: Expander, x: Value, wired: Tokens | None, *, width: int) -> Value:
        if self.token_types is None:
            return x
        if wired is None:
            row = e.parameter("token_types.weight", (self.token_types, width), "token_type")
        else:
            row = e.embedding(wired.ids, "token_types", rows=self.token_types, width=width, role="token_type")
        return e.add(x, row)
