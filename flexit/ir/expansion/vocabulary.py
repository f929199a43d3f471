"""The words that expand() is written in: one method per primitive op, on values. What blocks share beyond single ops
(masks, rotary tables, heads) is in :mod:`flexit.ir.expansion.expander`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

from flexit.ir.dims import Size, symbols
from flexit.ir.expansion.drafts import Draft
from flexit.ir.ops import binary as binary_op
from flexit.ir.ops import unary as unary_op
from flexit.ir.ops.attention import Attention
from flexit.ir.ops.cast import Cast
from flexit.ir.ops.causal_conv import CausalConv
from flexit.ir.ops.concat import Concat
from flexit.ir.ops.constant import Constant
from flexit.ir.ops.dropout import Dropout
from flexit.ir.ops.embedding import Embedding
from flexit.ir.ops.expand import Expand
from flexit.ir.ops.linear import Linear
from flexit.ir.ops.matmul import Matmul
from flexit.ir.ops.norm import Norm
from flexit.ir.ops.op import Op
from flexit.ir.ops.parameter import Parameter
from flexit.ir.ops.permute import Permute
from flexit.ir.ops.reduce import Reduce
from flexit.ir.ops.reshape import Reshape
from flexit.ir.ops.slice import Slice
from flexit.ir.ops.softmax import Softmax
from flexit.ir.ops.take_along import TakeAlong
from flexit.ir.ops.top_k import TopK
from flexit.ir.ops.xielu import Xielu
from flexit.ir.program import Node, Param, Role, State, Value, join
from flexit.ir.types import DType


class Vocabulary:
    """Writes nodes into the current draft. Paths given as ``name`` are below the block being expanded."""

    draft: Draft
    replaced: set[str]
    """Length symbols of inputs that feed a state of rule ``replace``."""

    # ---- parameters

    def param(
        self, name: str, shape: tuple[int, ...], role: Role, *, first_value: Sequence[float] | None = None,
        offset: float = 0.0, head_dim: int = 0,
    ) -> Param | Value:  # fmt: skip
        """A parameter at ``name``; where the block uses another block's parameters, the value that brings it in."""
        first = None if first_value is None else tuple(float(number) for number in first_value)
        return Param(
            path=self.draft.path(name), shape=shape, role=role, width=self.draft.width, first_value=first,
            offset=offset, head_dim=head_dim,
        )  # fmt: skip

    def linear(
        self, x: Value, d_out: int, name: str, *, bias: bool = False, role: Role = "projection", head_dim: int = 0,
        bias_name: str | None = None,
    ) -> Value:  # fmt: skip
        """``[..., in] -> [..., d_out]`` with ``name.weight [d_out, in]`` and, if on, ``name.bias`` or ``bias_name``."""
        d_in = x.dims[-1]
        assert isinstance(d_in, int)
        params = {"weight": self.param(join(name, "weight"), (d_out, d_in), role, head_dim=head_dim)}
        if bias or bias_name:
            params["bias"] = self.param(bias_name or join(name, "bias"), (d_out,), "bias")
        return self.write(Linear(d_out=d_out), x, name=name, params=params)

    def embedding(self, ids: Value, name: str, *, rows: int, width: int, role: Role = "embedding") -> Value:
        """``i64[...] -> [..., width]`` with ``name.weight [rows, width]``."""
        params = {"weight": self.param(join(name, "weight"), (rows, width), role)}
        return self.write(Embedding(rows=rows, width=width), ids, name=name, params=params)

    def norm(
        self, x: Value, kind: Literal["layer", "rms", "l2", "std"], name: str, *, eps: float,
        gain: bool | Literal["scalar"], bias: bool, offset: float = 0.0, fp32_gain: bool = False,
    ) -> Value:  # fmt: skip
        """Normalise the last dim, with ``name.weight`` and ``name.bias`` as asked."""
        width = x.dims[-1]
        assert isinstance(width, int)
        params: dict[str, Param | Value] = {}
        if gain:
            shape = (1,) if gain == "scalar" else (width,)
            params["weight"] = self.param(join(name, "weight"), shape, "gain", offset=offset)
        if bias:
            params["bias"] = self.param(join(name, "bias"), (width,), "bias")
        op = Norm(kind=kind, eps=eps, offset=offset if gain else 0.0, fp32_gain=fp32_gain)
        return self.write(op, x, name=name, params=params)

    def parameter(
        self, name: str, shape: tuple[int, ...], role: Role, *, first_value: Sequence[float] | None = None,
        offset: float = 0.0,
    ) -> Value:  # fmt: skip
        """A trained array read as a value."""
        params = {"value": self.param(name, shape, role, first_value=first_value, offset=offset)}
        return self.write(Parameter(shape=shape), name=name, params=params)

    def causal_conv(
        self, x: Value, new_mask: Value, name: str, *, kernel: int, bias: bool, cached: bool,
        documents: Value | None = None,
    ) -> Value:  # fmt: skip
        """Causal filter per channel, ``[batch, seq, channels] -> same``, with its state if ``cached``."""
        channels = x.dims[-1]
        assert isinstance(channels, int)
        params = {"weight": self.param(f"{name}.weight", (channels, 1, kernel), "conv")}
        if bias:
            params["bias"] = self.param(f"{name}.bias", (channels,), "bias")
        held = x.type.with_dims((x.dims[0], kernel - 1, channels))
        states = (State(path=self.draft.path(f"{name}_state"), type=held, rule="replace"),) if cached else ()
        self.replaced |= {name for dim in x.dims for name in symbols(dim)} if cached else set()
        return self.write(CausalConv(kernel=kernel), x, new_mask, documents, name=name, params=params, states=states)

    # ---- elementwise

    def constant(self, numbers: Sequence[float], shape: tuple[int, ...], *, dtype: DType = "f32") -> Value:
        """Fixed numbers in row-major order."""
        return self.write(Constant(dtype=dtype, shape=shape, numbers=tuple(numbers)), name="constant")

    def full(self, shape: tuple[int, ...], number: float) -> Value:
        """One number everywhere."""
        return self.constant((number,) * prod(shape), shape)

    def unary(self, fn: unary_op.Function, x: Value) -> Value:
        """One function of every element."""
        return self.write(unary_op.Unary(fn=fn), x, name=fn)

    def xielu(self, x: Value, name: str, *, alpha_p: float, alpha_n: float) -> Value:
        """``xielu`` with ``name.alpha_p`` and ``name.alpha_n``; the numbers are their first values."""
        first = {"alpha_p": alpha_p, "alpha_n": alpha_n}
        params = {
            slot: self.param(join(name, slot), (1,), "slope", first_value=[number]) for slot, number in first.items()
        }
        return self.write(Xielu(), x, name=join(name, "xielu"), params=params)

    def binary(self, fn: binary_op.Function, x: Value, y: Value | float) -> Value:
        """Elementwise arithmetic; shapes broadcast."""
        if isinstance(y, Value):
            return self.write(binary_op.Binary(fn=fn), x, y, name=fn)
        return self.write(binary_op.Binary(fn=fn, scalar=y), x, name=fn)

    def add(self, x: Value, y: Value | float) -> Value:
        """Sum."""
        return self.binary("add", x, y)

    def mul(self, x: Value, y: Value | float) -> Value:
        """Product; by exactly 1 it is left out."""
        return x if y == 1.0 else self.binary("mul", x, y)

    def cast(self, x: Value, to: DType) -> Value:
        """Another dtype; ``f32`` is fp32 whatever the precision of the model."""
        return self.write(Cast(to=to), x, name="cast")

    def like(self, x: Value, other: Value) -> Value:
        """In the precision of ``other``, a float."""
        return self.write(Cast(to="f32"), x, other, name="cast")

    def dropout(self, x: Value, p: float, *, per_row: bool = False) -> Value:
        """Zeroes elements (or whole rows) in training; left out where ``p`` is 0."""
        return x if p == 0.0 else self.write(Dropout(p=p, per_row=per_row), x, name="dropout")

    # ---- shape and reduction

    def reshape(self, x: Value, *to: int | str) -> Value:
        """Other dims: an int, ``=i`` (copies dim i) or ``*`` (the rest)."""
        return self.write(Reshape(to=to), x, name="reshape")

    def permute(self, x: Value, *perm: int) -> Value:
        """Dims in another order."""
        return self.write(Permute(perm=perm), x, name="permute")

    def repeat(self, x: Value, axis: int, size: int | Value) -> Value:
        """``size`` copies along an axis of size 1, or as many as a value is long there."""
        if isinstance(size, Value):
            return self.write(Expand(axis=axis), x, size, name="expand")
        return self.write(Expand(axis=axis, size=size), x, name="expand")

    def concat(self, xs: Sequence[Value], axis: int) -> Value:
        """Joined along ``axis``."""
        return self.write(Concat(axis=axis % xs[0].type.rank), *xs, name="concat")

    def slice(self, x: Value, axis: int, *, start: Size, stop: Size) -> Value:
        """A range along ``axis``, counted from the front."""
        return self.write(Slice(axis=axis % x.type.rank, start=start, stop=stop), x, name="slice")

    def split(self, x: Value, sizes: Sequence[int]) -> list[Value]:
        """The last dim cut into parts."""
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [self.slice(x, -1, start=start, stop=start + size) for start, size in zip(starts, sizes, strict=True)]

    def reduce(self, fn: Literal["sum", "mean", "max"], x: Value, axis: int, *, keep: bool = False) -> Value:
        """Sum, mean or maximum along ``axis``."""
        return self.write(Reduce(fn=fn, axis=axis % x.type.rank, keep=keep), x, name=fn)

    def softmax(self, x: Value) -> Value:
        """Over the last dim."""
        return self.write(Softmax(), x, name="softmax")

    def top_k(self, x: Value, k: int) -> tuple[Value, Value]:
        """Largest values of the last dim and their indices."""
        values, indices = self.write_many(TopK(k=k), x, name="top_k")
        return values, indices

    def matmul(self, x: Value, y: Value) -> Value:
        """Batched matrix product."""
        return self.write(Matmul(), x, y, name="matmul")

    def take_along(self, x: Value, index: Value, axis: int) -> Value:
        """Entries of ``axis`` picked by an index array."""
        return self.write(TakeAlong(axis=axis % x.type.rank), x, index, name="take_along")

    # ---- attention

    def attention(
        self, q: Value, k: Value, v: Value, *, mask: Value | None, scale: float, bias: Value | None = None,
        sinks: Value | None = None, value_table: Value | None = None, inner: Value | None = None,
        softcap: float | None = None, causal: bool = False, dropout: float = 0.0, keyless: bool = False,
    ) -> Value:  # fmt: skip
        """softmax(scale * q k^T ...) v over heads ``[batch, heads, seq, head_dim]``; see the op for the order."""
        op = Attention(scale=scale, softcap=softcap, causal=causal, dropout=dropout, keyless=keyless)
        return self.write(op, q, k, v, mask, bias, sinks, value_table, inner, name="attention")

    # ---- writing

    def write(
        self, op: Op, *inputs: Value | None, name: str, params: Mapping[str, Param | Value] | None = None,
        states: tuple[State, ...] = (),
    ) -> Value:  # fmt: skip
        """Append an op of one result to the current region."""
        return self.write_many(op, *inputs, name=name, params=params, states=states)[0]

    def write_many(
        self, op: Op, *inputs: Value | None, name: str, params: Mapping[str, Param | Value] | None = None,
        states: tuple[State, ...] = (),
    ) -> tuple[Value, ...]:  # fmt: skip
        """Append an op to the current region."""
        draft = self.draft
        used = tuple(None if value is None else draft.use(value) for value in inputs)
        types = op.infer(*(None if value is None else value.type for value in used))
        outputs = tuple(draft.new(name.rpartition(".")[2] or op.name, type_) for type_ in types)
        draft.nodes.append(
            Node(op=op, inputs=used, outputs=outputs, path=draft.path(name), params=dict(params or {}), states=states)
        )
        return outputs
