"""``merge``: regions of equal structure become one region, so that layers that differ only in what they are handed
(a mask, a rotary table) share their code.
"""

from __future__ import annotations

from dataclasses import replace

from flexit.ir.analysis.structure import Structures
from flexit.ir.program import Call, Program, Region


def merge(program: Program) -> Program:
    """The same program with as few regions as there are structures."""
    merger = _Merger()
    root = merger.region(program.root)
    return program if root is program.root else replace(program, root=root)


class _Merger:
    def __init__(self) -> None:
        self.structures = Structures()
        self.first: dict[str, Region] = {}
        self.done: dict[Region, Region] = {}

    def region(self, region: Region) -> Region:
        if region in self.done:
            return self.done[region]
        nodes = tuple(self._call(node) if isinstance(node, Call) else node for node in region.nodes)
        same = all(a is b for a, b in zip(nodes, region.nodes, strict=True))
        rebuilt = region if same else replace(region, nodes=nodes)
        key = self.structures.of(rebuilt) + _first_values(rebuilt)
        self.done[region] = self.first.setdefault(key, rebuilt)
        return self.done[region]

    def _call(self, call: Call) -> Call:
        region = self.region(call.region)
        return call if region is call.region else replace(call, region=region)


def _first_values(region: Region) -> str:
    """What of a region's parameters only initialisation sees; regions that differ in it stay apart."""
    return repr(
        [(param.role, param.width, param.first_value, param.offset, param.frozen) for param in region.params]
        + [id(node.region) for node in region.nodes if isinstance(node, Call)]
        + [region.branches, tuple(region.marks)]
    )
