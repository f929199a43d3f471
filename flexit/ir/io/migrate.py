"""The language version of a document, and the steps that bring older ones up to date."""

from __future__ import annotations

from collections.abc import Callable

from flexit.errors import Problem
from flexit.ir.diagnostics import problem
from flexit.ir.faults import placed
from flexit.ir.language.written import Node
from flexit.ir.wording import either, nearest, shown

CURRENT = 1
STEPS: dict[int, Callable[[Node], Node]] = {}
"""Version -> the step from it to the next one. A step keeps the places of what it does not touch."""


def migrate(root: Node) -> Node | Problem:
    """The document in the current version, or what is wrong with its version."""
    written = root.entries.get("flexit")
    readable = [*sorted(STEPS), CURRENT]
    version = written.value if written is not None else None
    if written is None or isinstance(version, bool) or not isinstance(version, int) or version not in readable:
        near = nearest("flexit", list(root.entries)) if written is None else None
        cure = f"write flexit: {CURRENT}" + (f" in place of {near}" if near else "")
        other = "" if written is None or isinstance(version, str) else ", or use a flexit that reads that version"
        found = problem(
            "FX0108", path="flexit",
            message="no language version" if written is None else "not a version that can be read",
            expected=f"flexit: {either(map(str, readable))}",
            found="nothing" if written is None else shown(written.plain()), cure=f"{cure}{other}",
        )  # fmt: skip
        return placed(found, root.mark if written is None else written.mark)
    while version != CURRENT:
        root = STEPS[version](root)
        version += 1
    return root
