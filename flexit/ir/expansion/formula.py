"""A program of one formula of the language by itself, such as a rotation or a score bias, without a spec around it."""

from __future__ import annotations

from collections.abc import Callable

from flexit.ir.dims import Size, symbol
from flexit.ir.expansion.edges import Axis
from flexit.ir.expansion.expander import Expander
from flexit.ir.passes.merge import merge
from flexit.ir.passes.prune import prune
from flexit.ir.program import Group, Input, Program, Value
from flexit.ir.types import Type
from flexit.ir.valid import Given

BATCH, SEQ = symbol("batch"), symbol("seq")

Write = Callable[[Expander, Axis, Value], Value]
"""Writes a formula for an axis and the heads on it; its result is the program's."""


def formula(name: str, write: Write, *, n_heads: Size, width: Size) -> Program:
    """The program of ``heads [batch, n_heads, seq, width]`` and ``attention_mask i64[batch, seq]`` that gives what
    ``write`` writes, as ``result``. Nothing of it is decoded.
    """
    e = Expander(tables={}, cached=False)
    heads = e.draft.input("heads", Type("f32", (BATCH, n_heads, SEQ, width)))
    mask = e.draft.input("attention_mask", Type("i64", (BATCH, SEQ)))
    axis = e.axis(mask, described="the length of heads", seq=SEQ, valid=Given("attention_mask"))
    result = write(e, axis, heads)
    inputs = (
        Input(name="heads", value=heads, group="heads", role="values"),
        Input(name="attention_mask", value=mask, group="", role="mask"),
    )
    program = Program(
        name=name, root=e.seal((result,)), inputs=inputs, outputs={"result": result},
        groups=(Group(name="", seq="seq", total="seq"),), decoded=None, why_not_decoded="it is one formula",
        why_not_packed="", valid=e.valid,
    )  # fmt: skip
    return merge(prune(program))
