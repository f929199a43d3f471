"""Do all names in ``from``, ``outputs`` and ``like`` mean something, and do the edges form no cycle?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.checks.walk import Walk
from flexit.ir.expansion.scope import find_edge
from flexit.ir.language.written import Node, line_of
from flexit.ir.wording import nearest


def check(walk: Walk) -> Iterator[Problem]:
    """FX0301 to FX0305, FX0307, FX0308."""
    for scope in walk.scopes:
        for name, fault in scope.resolved.faults:
            hides_input = fault.code == "FX0304" and scope.owner is None
            yield scope.problem(name, _with_input(fault, walk.spec.node, name) if hides_input else fault)
    yield from (walk.problem(fault) for fault in output_faults(walk))
    yield from _likes(walk)


def output_faults(walk: Walk) -> Iterator[Fault]:
    """What is wrong with the edges of ``outputs``."""
    spec = walk.spec
    for name, edge in (spec.outputs or {}).items():
        found = find_edge(edge, spec.blocks, (), field=f"outputs.{name}", variadic=True)
        if isinstance(found, Fault):
            yield found


def _likes(walk: Walk) -> Iterator[Problem]:
    inputs = walk.spec.inputs
    owners = [
        name for name, declared in inputs.items() if getattr(declared, "like", None) is None and _has_length(declared)
    ]
    for name, declared in inputs.items():
        like = getattr(declared, "like", None)
        others = [owner for owner in owners if owner != name]
        if like is None or like in others:
            continue
        chained = like in inputs and like != name
        yield walk.problem(Fault(
            code="FX0305" if chained else "FX0301", field=f"inputs.{name}.like",
            message="names an input that has no length of its own" if chained else "no graph input of this name",
            expected=f"one of {', '.join(others)}" if others else "another input, of which there is none", found=like,
            cure=f"write {nearest(like, others) or others[0]}" if others else "delete like",
        ))  # fmt: skip


def _has_length(declared: object) -> bool:
    return hasattr(declared, "like")


def _with_input(fault: Fault, document: Node | None, name: str) -> Fault:
    """The fault with the line of the graph input that the block would hide."""
    if document is None:
        return fault
    declared, left = document.find(("inputs", name))
    return fault if left else replace(fault, found=f"{name}, a graph input{line_of(declared)}")
