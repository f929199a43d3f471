"""From a spec to its program, or to a SpecError that lists every fault."""

from __future__ import annotations

from typing import cast

from flexit.errors import SpecError, UserError
from flexit.ir.expand import expand
from flexit.ir.faults import in_order, problem_of
from flexit.ir.program import Program
from flexit.ir.spec import Spec


def compile_spec(spec: Spec) -> Program:
    """The program of a spec.

    Raises:
        UserError: FX2007, it is no spec.
        SpecError: widths, lengths, edges or fields that do not fit; every fault is listed, sorted by place.
    """
    if not isinstance(cast("object", spec), Spec):
        raise UserError.of(
            "FX2007", "spec cannot be used", path="spec", expected="a Spec", found=f"a {type(spec).__name__}",
            cure="make one: flexit.load_spec(path), or spec() of a Graph",
        )  # fmt: skip
    expansion = expand(spec)
    if expansion.program is None:
        raise SpecError(
            in_order(
                problem_of(block.node if block is not None else None, path, fault)
                for block, path, fault in expansion.faults
            )
        )
    return expansion.program
