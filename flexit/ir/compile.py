"""From a spec to its program, or to a SpecError that lists every fault."""

from __future__ import annotations

from typing import Literal, cast, get_args

from flexit.errors import SpecError, UserError
from flexit.ir.expansion.expand import expand
from flexit.ir.faults import in_order, problem_of
from flexit.ir.program import Program
from flexit.ir.spec import Spec

States = Literal["full", "compact"]
"""What decoding keeps: what attention reads, or what that is computed from where it is less (latent attention)."""


def compile_spec(spec: Spec, *, states: States = "full") -> Program:
    """The program of a spec.

    Args:
        spec: the model.
        states: ``compact`` keeps less per token for more work at each step, where a block has such a form; the result
            is the same.

    Raises:
        UserError: FX2007, it is no spec, or none of its states has a compact form.
        SpecError: widths, lengths, edges or fields that do not fit; every fault is listed, sorted by place.
    """
    if not isinstance(cast("object", spec), Spec):
        raise UserError.of(
            "FX2007", "spec cannot be used", path="spec", expected="a Spec", found=f"a {type(spec).__name__}",
            cure="make one: flexit.load_spec(path), or spec() of a Graph",
        )  # fmt: skip
    if states not in get_args(States):
        raise unusable_states(states, "full or compact")
    expansion = expand(spec, compact=states == "compact")
    if expansion.program is None:
        raise SpecError(
            in_order(
                problem_of(block.node if block is not None else None, path, fault)
                for block, path, fault in expansion.faults
            )
        )
    if states == "compact" and not expansion.compacted:
        raise unusable_states(states, "full: no state of this model has a compact form")
    return expansion.program


def unusable_states(states: object, legal: str) -> UserError:
    """FX2007 for the argument ``states``."""
    cure = "leave states out"
    return UserError.of(
        "FX2007", "states cannot be used", path="states", expected=legal, found=str(states), cure=cure
    )  # fmt: skip
