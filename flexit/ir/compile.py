"""From a spec to its program, or to a SpecError that lists every fault."""

from __future__ import annotations

from flexit.errors import Problem, SpecError
from flexit.ir.block import Block, Fault
from flexit.ir.expand import expand
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.ir.written import dotted


def compile_spec(spec: Spec) -> Program:
    """The program of a spec.

    Raises:
        SpecError: widths, lengths, edges or fields that do not fit; every fault is listed, sorted by place.
    """
    expansion = expand(spec)
    if expansion.program is None:
        raise SpecError(sorted((problem_of(*fault) for fault in expansion.faults), key=_place))
    return expansion.program


def problem_of(block: Block | None, path: str, fault: Fault) -> Problem:
    """A fault at its place: the field, or the key that lacks it."""
    problem = Problem(
        code=fault.code, path=f"blocks.{path}" if path else "blocks", message=fault.message, expected=fault.expected,
        found=fault.found, cure=fault.cure,
    )  # fmt: skip
    keys = tuple(int(key) if key.isdigit() else key for key in fault.field.split(".") if key)
    if block is None or block.node is None:
        suffix = dotted(keys)
        return Problem(**{**_parts(problem), "path": f"{problem.path}.{suffix}" if suffix else problem.path})
    node, left = block.node.find(keys)
    mark = node.mark
    named = dotted((*node.path, *left))
    located = Problem(**{**_parts(problem), "path": named})
    return located if mark is None else located.at(mark.file, mark.line, mark.column)


def _parts(problem: Problem) -> dict[str, str]:
    return {name: getattr(problem, name) for name in ("code", "path", "message", "expected", "found", "cure")}


def _place(problem: Problem) -> tuple[str, int, int, str]:
    return (problem.file or "", problem.line or 0, problem.column or 0, problem.path)
