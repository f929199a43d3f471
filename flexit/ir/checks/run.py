"""All checks, in their phases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexit.errors import Problem
from flexit.ir.spec import Spec

if TYPE_CHECKING:
    from flexit.ir.program import Program


def errors(spec: Spec) -> list[Problem]:
    """Everything wrong with names, edges and fields."""
    del spec
    return []


def expanded(spec: Spec) -> tuple[Program | None, list[Problem]]:
    """The program, or everything wrong with widths, lengths and types."""
    from flexit.ir.expand import expand
    from flexit.ir.faults import problem_of

    expansion = expand(spec)
    return expansion.program, [problem_of(*fault) for fault in expansion.faults]


def warnings(spec: Spec, program: Program) -> list[Problem]:
    """What stops nothing, but is probably not meant."""
    del spec, program
    return []
