"""``freeze``: parameters that no loss trains any more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from flexit.ir.passes.edit import edit
from flexit.ir.program import Call, Node, Param, Program, Region, Value


def freeze(program: Program, paths: Collection[str]) -> Program:
    """The same program, in which some parameters stay as they are.

    Args:
        program: what computes.
        paths: absolute paths of the parameters.
    """
    return edit(program, paths, _frozen)


def _frozen(region: Region, meant: frozenset[str]) -> Region:
    def held(param: Param | Value) -> Param | Value:
        return replace(param, frozen=True) if isinstance(param, Param) and param.path in meant else param

    def node(each: Node | Call) -> Node | Call:
        if isinstance(each, Call) or not any(isinstance(p, Param) and p.path in meant for p in each.params.values()):
            return each
        return replace(each, params={slot: held(param) for slot, param in each.params.items()})

    return replace(region, nodes=tuple(node(each) for each in region.nodes))
