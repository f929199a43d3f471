"""All checks, in their phases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexit.errors import Problem
from flexit.ir.checks import (
    closing_norm,
    companions,
    edges,
    fields,
    init_entries,
    limits,
    positions,
    ties,
    unread,
    variation,
    windows,
)
from flexit.ir.checks.walk import Walk, walk
from flexit.ir.expansion.expand import expand

if TYPE_CHECKING:
    from flexit.ir.program import Program

__all__ = ["errors", "expanded", "walk", "warnings"]

GRAPH = (edges, unread, companions, variation, fields, ties, windows, init_entries)
WARNINGS = (closing_norm, positions)


def errors(found: Walk) -> list[Problem]:
    """Everything wrong with names, edges and fields."""
    return [problem for module in GRAPH for problem in module.check(found)]


def expanded(found: Walk) -> tuple[Program | None, list[Problem]]:
    """The program, or everything wrong with widths, lengths and types."""
    too_many = [*limits.check_layers(found), *limits.check_widths(found)]
    if too_many:
        return None, too_many
    expansion = expand(found.spec)
    by_block = {id(site.block): site for site in found.sites}
    by_path = {site.path: site for site in found.sites}
    problems: list[Problem] = []
    for block, path, fault in expansion.faults:
        site = by_path.get(path) if block is None else by_block.get(id(block))
        problems.append(found.problem(fault) if site is None else site.problem(fault))
    program = expansion.program
    if program is not None:
        problems += limits.check_size(found, program)
        problems += init_entries.check_reach(found, program)
    return program, problems


def warnings(found: Walk) -> list[Problem]:
    """What stops nothing, but is probably not meant."""
    return [problem for module in WARNINGS for problem in module.check(found)]
