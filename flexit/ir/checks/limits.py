"""Is the model of a size that a computer could hold?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.checks.walk import Walk
from flexit.ir.cost import count_parameters

if TYPE_CHECKING:
    from flexit.ir.program import Program

MOST_PARAMETERS = 10**14


def check_size(walk: Walk, program: Program) -> Iterator[Problem]:
    """FX0109, at the block with the most parameters."""
    if count_parameters(program) <= MOST_PARAMETERS:
        return
    sizes: dict[str, int] = {}
    for param in program.params():
        name = param.path.partition(".")[0]
        sizes[name] = sizes.get(name, 0) + param.size
    name = max(sizes, key=sizes.__getitem__)
    yield walk.document.problem(name, Fault(
        code="FX0109", field="", message="more parameters than the limit", expected=f"at most {MOST_PARAMETERS:,}",
        found=f"{sum(sizes.values()):,}, of which {sizes[name]:,} here", cure="make the model smaller",
    ))  # fmt: skip
