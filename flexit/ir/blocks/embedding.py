"""``embedding``: token rows, plus positions and token types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Fault, Inferred, Norm, Port, RowProjection, Surroundings, TokenTable
from flexit.ir.blocks._rows import Projection, TokenDropout
from flexit.ir.dims import fixed
from flexit.ir.expansion.edges import Sequence, Tokens
from flexit.ir.expansion.expander import Expander, Table
from flexit.ir.language.kinds import InferredInt, PositiveFloat, PositiveInt, Probability
from flexit.ir.positions.base import Position
from flexit.ir.program import Value


class Embedding(Block, kind="embedding"):
    """Rows of a table x multiplier, + positions, + token types; then norm, dropout and projection."""

    formula = "y_t = dropout(norm(multiplier E[token_t] + P[p_t] + S[type_t]))"
    source = (
        "Vaswani et al. 2017, arXiv 1706.03762; factorised: Lan et al. 2020 (ALBERT), arXiv 1909.11942; token "
        "dropout: Hugging Face's EsmEmbeddings"
    )
    also_called: ClassVar[Mapping[str, str]] = {
        "embed": "", "embeddings": "", "token_embedding": "", "token_embeddings": "",
    }  # fmt: skip
    inputs: ClassVar[Mapping[str, Port]] = {
        "tokens": Port(("tokens",)),
        "token_types": Port(("tokens",), optional=True, chains=False),
    }
    output: ClassVar[EdgeName | Literal["same"]] = "sequence"
    examples = (
        {
            "kind": "embedding", "vocab_size": 31, "d_model": 16, "position": {"kind": "learned", "max_len": 40},
            "norm": "layer_norm", "dropout": 0.1, "multiplier": "sqrt_d_model",
        },
        {"kind": "embedding", "vocab_size": 31, "d_model": 16, "token_types": 2},
        {
            "kind": "embedding", "vocab_size": 31, "d_model": 16, "projection": {"dim": 6, "bias": True},
            "position": {"kind": "learned", "max_len": 40, "ids": {"kind": "non_pad_cumsum", "pad_id": 1}},
            "token_types": 1, "norm": "layer_norm", "dropout": 0.1,
        },
        {
            "kind": "embedding", "vocab_size": 31, "d_model": 16, "projection": {"dim": 6, "at": "token"},
            "position": "sinusoidal", "norm": "rms_norm", "norm_at": "projected", "token_dropout": {"mask_id": 4},
        },
    )  # fmt: skip

    vocab_size: InferredInt = None
    """Rows of the table; required unless tied_to."""
    d_model: InferredInt = None
    """Output width; required unless tied_to."""
    projection: Projection | None = None
    """Factorised table: rows of dim, then a linear map to d_model; with tied_to, that of the owner."""
    multiplier: PositiveFloat | Literal["sqrt_d_model"] = 1.0
    """On the token rows, before anything is added; ``sqrt_d_model``: of the rows' width after projection."""
    position: Position | None = None
    """Additive position table."""
    token_types: PositiveInt | None = None
    """Rows of a segment table; 1 adds one constant row, 2 or more need the port token_types."""
    norm: Norm | None = None
    """Normalisation."""
    norm_at: Literal["token", "sum", "projected"] = "sum"
    """On the token rows, after the sum, or right after the projection."""
    token_dropout: TokenDropout | None = None
    """Zero the rows of the mask token, rescale the rest (ESM)."""
    dropout: Probability = 0.0
    """After the norm; after the sum and before the projection where that comes last and is not normed."""
    tied_to: str | None = None
    """Use that embedding's table (and its projection, vocab_size and d_model: do not write them)."""

    def token_table(self) -> TokenTable | None:
        if self.tied_to is not None or self.vocab_size is None or self.d_model is None:
            return None
        held = self.projection
        if held is None:
            return TokenTable("tokens.weight", self.vocab_size, self.d_model)
        projection = RowProjection(path="projection", width=self.d_model, bias=held.bias, at=held.at)
        return TokenTable("tokens.weight", self.vocab_size, held.dim, projection)

    @property
    def max_len(self) -> int | None:
        return None if self.position is None else self.position.max_positions

    @property
    def why_not_packed(self) -> str:
        return "" if self.token_dropout is None else "counts the mask tokens of the whole row"

    @property
    def orders(self) -> bool:
        return self.position is not None

    @property
    def adds(self) -> bool:
        """Whether anything is added to the rows."""
        return self.position is not None or self.token_types is not None

    def check(self) -> Iterator[Fault]:
        yield from self._check_tie()
        other = ""
        if self.norm_at != "sum" and self.norm is None:
            other = "norm is null"
        elif self.norm_at == "projected" and self.projection is None and self.tied_to is None:
            other = "there is no projection"
        elif self.norm_at == "token" and not self.adds:
            other = "nothing is added to the rows"
        if other:
            yield _inert_place("norm_at", other, default="sum", found=self.norm_at)
        held = self.projection
        if held is not None and held.at == "token" and not self.adds:
            yield _inert_place("projection.at", "nothing is added to the rows", default="sum", found="token")
        if self.position is not None:
            yield from (replace(fault, field=f"position.{fault.field}") for fault in self.position.check())
        if self.d_model is not None:
            inner = held is not None and held.at == "sum"
            width = held.dim if held is not None and inner else self.d_model
            yield from self._check_width(width, "projection.dim" if inner else "d_model")

    def _check_width(self, width: int, field: str) -> Iterator[Fault]:
        """What the position table asks of the width it is added to, which ``field`` says."""
        for fault in self.position.check_width(width) if self.position is not None else ():
            yield replace(fault, field=field, cure=fault.cure.replace(fault.field, field))

    def _check_tie(self) -> Iterator[Fault]:
        for name in ("vocab_size", "d_model", "projection"):
            value = getattr(self, name)
            if self.tied_to is None and value is None and name != "projection":
                yield Fault(
                    code="FX0202", field=name, message="required field is missing",
                    expected="an integer >= 1, such as " + ("32000" if name == "vocab_size" else "512"),
                    found="nothing", cure=f"add {name}, or tied_to: another embedding",
                )  # fmt: skip
            if self.tied_to is not None and value is not None:
                yield Fault(
                    code="FX0702", field=name, message="is fixed by tied_to",
                    expected=f"nothing: {name} is that of {self.tied_to}",
                    found=str(getattr(value, "dim", value)), cure=f"delete {name}",
                )  # fmt: skip

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
            yield Inferred("d_model", table.model_width, f"from {self.tied_to}")
            if table.projection is not None:
                yield Inferred("projection.dim", table.width, f"from {self.tied_to}")

    def expand(self, e: Expander, tokens: Tokens, token_types: Tokens | None = None) -> Sequence:
        table = self.token_table() if self.tied_to is None else e.table(self, self.tied_to)
        assert table is not None
        at = None if table.projection is None else table.projection.at
        self._check_owner(e, table)
        e.draft.width = table.model_width
        x = self._multiplied(e, self._rows(e, tokens, table), table.model_width)
        x = x if self.token_dropout is None else self.token_dropout.apply(e, x, tokens)
        x = self._normed(e, x, "token")
        if at == "token":
            x = self._normed(e, self._projected(e, x, table), "projected")
        x = self._normed(e, self._with_others(e, x, tokens, token_types=token_types), "sum")
        if at == "sum":
            last = self.norm is not None and self.norm_at == "projected"
            x = self._projected(e, x if last else e.dropout(x, self.dropout), table)
            if not last:
                return Sequence(x=x, axis=tokens.axis)
            x = self._normed(e, x, "projected")
        return Sequence(x=e.dropout(x, self.dropout), axis=tokens.axis)

    def _check_owner(self, e: Expander, table: TokenTable) -> None:
        """What only the owner of a tied table shows."""
        if self.tied_to is None:
            return
        width = table.width if table.projection is not None and table.projection.at == "sum" else table.model_width
        cure = "set the width of that embedding so that it fits, or write another position here"
        faults = [
            replace(fault, found=f"{width}, the width of {self.tied_to}", cure=cure)
            for fault in self._check_width(width, "tied_to")
        ]
        if self.norm_at == "projected" and self.norm is not None and table.projection is None:
            other = f"{self.tied_to} has no projection"
            faults.append(_inert_place("norm_at", other, default="sum", found=self.norm_at))
        e.refuse(self, *faults)

    def _rows(self, e: Expander, tokens: Tokens, table: TokenTable) -> Value:
        if isinstance(table, Table):
            return e.tied_embedding(tokens.ids, table)
        return e.embedding(tokens.ids, "tokens", rows=table.rows, width=table.width)

    def _projected(self, e: Expander, x: Value, table: TokenTable) -> Value:
        if isinstance(table, Table):
            return e.tied_projection(x, table)
        assert table.projection is not None
        return e.linear(x, table.projection.width, "projection", bias=table.projection.bias)

    def _normed(self, e: Expander, x: Value, place: str) -> Value:
        return x if self.norm is None or self.norm_at != place else self.norm.apply(e, x, "norm")

    def _with_others(self, e: Expander, x: Value, tokens: Tokens, *, token_types: Tokens | None) -> Value:
        """The rows, + token types, + positions."""
        width = fixed(x.dims[-1])
        x = self._with_types(e, x, token_types, width=width)
        return (
            x
            if self.position is None
            else e.add(x, e.like(self.position.expand(e, tokens.axis, width, tokens=tokens), x))
        )

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


def _inert_place(field: str, other: str, *, default: str, found: str) -> Fault:
    return Fault(
        code="FX0501", field=field, message="has no effect", expected=f"{default}, since {other}", found=found,
        cure=f"delete {field.rpartition('.')[2]}",
    )  # fmt: skip
