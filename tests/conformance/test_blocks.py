"""Every registered block kind, every example, everywhere it may stand: the same checks for all.

A new kind needs no test code for these, only its examples.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from flexit.ir import registry
from flexit.ir.block import Block
from tests.conformance import checks
from tests.conformance.placements import Placed, in_tiers, placements

KINDS = registry.names(Block)
PLACED = [placed for kind in KINDS for placed in placements(kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_documented(kind: str) -> None:
    checks.check_documented(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_placed(kind: str) -> None:
    checks.check_placed(kind)


@pytest.mark.parametrize("placed", in_tiers(PLACED))
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_block(placed: Placed, check: checks.Check) -> None:
    check(placed)


@pytest.mark.ort
@pytest.mark.parametrize("placed", in_tiers(PLACED))
@pytest.mark.parametrize("check", checks.ORT_CHECKS, ids=lambda check: check.__name__)
def test_block_in_onnx_runtime(placed: Placed, check: checks.Check) -> None:
    check(placed)


def test_what_stands_where(golden) -> None:
    """The documents that were found, so that none is lost unnoticed when a rule or an inference changes."""
    lines = ["kind-example-form: parameters; decoded or not; states"]
    for placed in PLACED:
        program = placed.program
        states = [f"{state.path} {state.rule} {state.type}" for state in program.states]
        decoded = "cached" if program.decoded is not None else "whole"
        size = sum(param.size for param in program.params())
        lines.append("; ".join([f"{placed}: {size}", decoded, *states]))
    golden(Path(__file__).parent / "golden" / "placements.txt", "\n".join([*lines, ""]))
