"""From what a check finds (a fault of a block's field) to what the user reads: a problem at its place in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.diagnostics import problem
from flexit.ir.language.written import Mark, Node, dotted, line_of

LINE = re.compile(r"\{(line|block) ([\w.]+)\}")
"""In a fault's text: `` (line 12)`` of another field of the block, or of a sibling; nothing where it is unknown."""


def problem_of(node: Node | None, path: str, fault: Fault, *, siblings: Node | None = None) -> Problem:
    """A fault at its place: the field, or the key that lacks it.

    Args:
        node: where the block is written whose fault it is.
        path: its path in the program, which stands in where that is unknown.
        fault: what is wrong.
        siblings: the map of blocks it is in.
    """
    if node is None:
        node = Node({}, ("blocks", *path.split("."))) if path else Node({})
    return at_node(node, fault, siblings=siblings)


def at_node(node: Node, fault: Fault, *, siblings: Node | None = None) -> Problem:
    """A fault of what stands at ``node``."""
    keys = field_keys(node, fault.field)
    found, left = node.find(keys)
    if fault.place:
        mark = node.find(field_keys(node, fault.place))[0].mark
    elif left:
        mark = found.key or found.mark
    elif fault.on_key and found.key is not None:
        mark = found.key
    else:
        mark = found.mark
    texts = {
        part: _with_lines(getattr(fault, part), node, siblings) for part in ("message", "expected", "found", "cure")
    }
    return placed(problem(fault.code, path=dotted((*found.path, *left)), **texts), mark)


def field_keys(node: Node, field: str) -> tuple[str | int, ...]:
    """The keys of a fault's field; an index of a list is a number."""
    keys: list[str | int] = []
    for key in field.split(".") if field else []:
        here, left = node.find(tuple(keys))
        keys.append(int(key) if isinstance(here.value, list) and not left and key.isdigit() else key)
    return tuple(keys)


def placed(found: Problem, mark: Mark | None) -> Problem:
    """The problem at a mark; a place without lines (the command line) names its source alone."""
    return found if mark is None else found.at(mark.file, mark.line or None, mark.column or None)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, by place."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.file or "", p.line or 0, p.column or 0, p.path, p.code))


def _with_lines(text: str, node: Node, siblings: Node | None) -> str:
    def line(match: re.Match[str]) -> str:
        if match[1] == "block":
            return line_of(siblings.entries.get(match[2])) if siblings is not None else ""
        found, left = node.find(field_keys(node, match[2]))
        return "" if left else line_of(found)

    return LINE.sub(line, text)
