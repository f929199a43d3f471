"""How many residual branches lie on the path from a parameter to the output, for depth-scaled initialisation."""

from __future__ import annotations

from flexit.ir.expansion.scope import resolve
from flexit.ir.ordering import reachable
from flexit.ir.program import Call, Program, Region
from flexit.ir.spec import Spec


def residual_branches(spec: Spec, program: Program) -> dict[str, int]:
    """Top-level block -> branches of all blocks on one residual stream with it: those up and down its main edges."""
    own: dict[str, int] = {}
    for node in program.root.nodes:
        if isinstance(node, Call):
            top = node.path.partition(".")[0]
            own[top] = own.get(top, 0) + _branches(node.region, {})
    sources: dict[str, set[str]] = {name: set() for name in spec.blocks}
    readers: dict[str, set[str]] = {name: set() for name in spec.blocks}
    for name, wires in resolve(spec.blocks, tuple(spec.inputs), chain_from=next(iter(spec.inputs))).wires.items():
        main = next(iter(spec.blocks[name].inputs))
        for source in wires.get(main, ()):
            if source.name in spec.blocks:
                sources[name].add(source.name)
                readers[source.name].add(name)
    streams = {name: {name} | reachable(sources, name) | reachable(readers, name) for name in spec.blocks}
    return {name: sum(own.get(other, 0) for other in stream) for name, stream in streams.items()}


def _branches(region: Region, known: dict[Region, int]) -> int:
    if region not in known:
        known[region] = region.branches + sum(
            _branches(node.region, known) for node in region.nodes if isinstance(node, Call)
        )
    return known[region]
