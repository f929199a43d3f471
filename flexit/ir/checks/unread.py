"""Is everything that is computed or given also read?"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import Problem
from flexit.ir.block import Block, Fault
from flexit.ir.checks import edges
from flexit.ir.checks.walk import Named, Site, Walk, plan_of
from flexit.ir.expansion.expand import output_edges
from flexit.ir.expansion.scope import EDGE, resolve


def check(walk: Walk) -> Iterator[Problem]:
    """FX0306. Scopes with unresolved edges are left out: what was meant there is not known."""
    for scope in walk.scopes:
        if not scope.resolved.faults and not (scope.owner is None and any(edges.output_faults(walk))):
            yield from _blocks(walk, scope)
    if not walk.document.resolved.faults:
        yield from _inputs(walk)
    for site in walk.sites:
        if site.scope is not None:
            yield from _ports(site)


def _blocks(walk: Walk, scope: Named) -> Iterator[Problem]:
    read = _names(scope)
    if scope.owner is None:
        matches = (EDGE.fullmatch(edge) for edge in output_edges(walk.spec).values())
        read |= {match["name"] for match in matches if match is not None}
    else:
        read.add(next(reversed(scope.blocks)))
    for name in scope.blocks:
        if name not in read:
            where = "an output of the document" if scope.owner is None else "the last block of its scope"
            cure = f"give from: {name} to a block, list it in outputs, or delete it"
            yield scope.problem(name, Fault(
                code="FX0306", field="", on_key=True, message="nobody reads this block",
                expected=f"every block read by another one, or {where}", found="no from: that names it",
                cure=cure if scope.owner is None else f"give from: {name} to a block, or delete it",
            ))  # fmt: skip


def _inputs(walk: Walk) -> Iterator[Problem]:
    read = _names(walk.document)
    for name in walk.spec.inputs:
        if name not in read:
            yield walk.problem(Fault(
                code="FX0306", field=f"inputs.{name}", on_key=True, message="nobody reads this input",
                expected="every graph input read by a block", found="no from: that names it",
                cure=f"give from: {name} to a block, or delete the input",
            ))  # fmt: skip


def _ports(site: Site) -> Iterator[Problem]:
    for port in site.ports:
        known = port in site.block.inputs or site.block.takes_extra_ports
        if known and not _reads(site.block, port, site.ports):
            written = site.block.wired
            yield site.problem(Fault(
                code="FX0306", field=f"from.{port}" if isinstance(written, dict) else "", on_key=True,
                message=f"no block inside reads the port {port}", expected="every port that is given read inside",
                found=f"{port}, which nothing inside names", cure=f"take {port} out of from, or read it inside",
            ))  # fmt: skip


def _reads(block: Block, port: str, ports: tuple[str, ...]) -> bool:
    """Whether a port given to a block is read, by itself or inside."""
    if not block.takes_extra_ports:
        return block.reads(port)
    named = {keys[1]: child for keys, child in block.inside() if len(keys) > 1}
    if named:
        resolved = resolve(named, ports, chain_from="x")
        sources = {source.name for wires in resolved.wires.values() for found in wires.values() for source in found}
        return port in sources or bool(resolved.faults)
    plan = plan_of(block)
    inner = [child for keys, child in block.inside() if len(keys) == 1]
    layers = [layer for _, layer, _ in plan.distinct()] if plan is not None else []
    unknown = plan is None and not inner
    return unknown or any(_reads(child, port, ports) for child in (*layers, *inner))


def _names(scope: Named) -> set[str]:
    return {source.name for wires in scope.resolved.wires.values() for found in wires.values() for source in found}
