"""Is each window smaller than the longest sequence that the position table before it allows?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flexit.errors import Problem
from flexit.ir.block import Block, Fault
from flexit.ir.checks.walk import Site, Walk
from flexit.ir.expansion.scope import Scope
from flexit.ir.language.written import line_of


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
    reached: set[str] | None = None
    for scope in reversed([scope for scope in walk.scopes if _holds(scope.path, site.path)]):
        name = path[len(scope.path.split(".")) if scope.path else 0]
        if name not in scope.blocks:
            continue
        ports = {next(iter(scope.blocks[name].inputs))} if reached is None else reached
        found, reached = _upstream(scope.blocks, scope.resolved, name, ports=ports)
        if found is not None:
            return found
    return None


def _holds(scope: str, path: str) -> bool:
    return not scope or path.startswith(f"{scope}.")


def _upstream(
    blocks: Mapping[str, Block], resolved: Scope, name: str, *, ports: set[str]
) -> tuple[Block | None, set[str]]:
    """The nearest block with a table before these ports of a block, or the ports of the scope that they come from."""
    if blocks[name].max_len is not None:
        return blocks[name], set()
    if blocks[name].lengthens:
        return None, set()
    waiting = [source.name for port in ports for source in resolved.wires.get(name, {}).get(port, ())]
    seen: set[str] = set()
    while waiting:
        current = waiting.pop(0)
        if current in seen:
            continue
        seen.add(current)
        block = blocks.get(current)
        if block is None or block.lengthens:
            continue
        if block.max_len is not None:
            return block, set()
        waiting += [source.name for source in resolved.wires.get(current, {}).get(next(iter(block.inputs)), ())]
    return None, seen - set(blocks)
