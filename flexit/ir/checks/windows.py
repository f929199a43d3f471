"""Is each window smaller than the longest sequence that the position table before it allows?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flexit.errors import Problem
from flexit.ir.block import Block, Fault
from flexit.ir.checks.walk import Site, Walk
from flexit.ir.scope import Scope
from flexit.ir.written import line_of


def check(walk: Walk) -> Iterator[Problem]:
    """FX0509."""
    for site in walk.sites:
        for field, size in site.block.spans():
            table = _table(walk, site)
            if table is None or table.max_len is None or size < table.max_len:
                continue
            yield site.problem(Fault(
                code="FX0509", field=field, message="as long as the longest sequence, so that it hides nothing",
                expected=f"less than {table.max_len}, the max_len of the position table{line_of(table.node)}",
                found=str(size), cure=f"write a smaller {field.rpartition('.')[2]}, or delete it",
            ))  # fmt: skip


def _table(walk: Walk, site: Site) -> Block | None:
    """The block with a position table that the main edge of a site comes from."""
    path = site.path.split(".")
    for scope in reversed([scope for scope in walk.scopes if _holds(scope.path, site.path)]):
        name = path[len(scope.path.split(".")) if scope.path else 0]
        if name in scope.blocks:
            found = _upstream(scope.blocks, scope.resolved, name)
            if found is not None:
                return found
    return None


def _holds(scope: str, path: str) -> bool:
    return not scope or path.startswith(f"{scope}.")


def _upstream(blocks: Mapping[str, Block], resolved: Scope, name: str) -> Block | None:
    seen: set[str] = set()
    open_names = [name]
    while open_names:
        current = open_names.pop(0)
        if current in seen or current not in blocks:
            continue
        seen.add(current)
        if blocks[current].max_len is not None:
            return blocks[current]
        wires = resolved.wires.get(current, {})
        main = next(iter(blocks[current].inputs))
        open_names += [source.name for source in wires.get(main, ())]
    return None
