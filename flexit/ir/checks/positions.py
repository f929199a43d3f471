"""Does anything tell positions apart where attention does not? (A warning.)"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.checks.walk import Walk
from flexit.ir.language.inputs import Tokens


def check(walk: Walk) -> Iterator[Problem]:
    """FX0902, once, at the first attention that sees all positions."""
    if any(site.block.orders for site in walk.sites):
        return
    if not all(isinstance(declared, Tokens) for declared in walk.spec.inputs.values()):
        return
    for site in walk.sites:
        if site.block.sees_all:
            yield site.problem(Fault(
                code="FX0902", field="", message="full attention, and nothing tells positions apart",
                expected="position, rotary or scores.bias somewhere", found="none of the three",
                cure="add rotary: {} here, or a position to the tokens, or a score bias",
            ))  # fmt: skip
            return
