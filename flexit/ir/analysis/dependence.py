"""How outputs depend on the positions of an input: whether it can be fed token by token, or which block prevents it."""

from __future__ import annotations

from dataclasses import dataclass

from flexit.ir.analysis.measure import distinct
from flexit.ir.ops.op import Dependence
from flexit.ir.program import Call, Node, Program, Region, Value, join


@dataclass(frozen=True, slots=True)
class Finding:
    """The dependence of a value, and the path of the block that first reached it."""

    level: Dependence
    culprit: str = ""


POINTWISE = Finding(Dependence.POINTWISE)


def dependences(root: Region, seq: str) -> dict[Value, Finding]:
    """The finding for each value of the root region along the length symbol ``seq``."""
    return _region(root, (POINTWISE,) * len(root.inputs), seq=seq, path="")


def _region(region: Region, inputs: tuple[Finding, ...], *, seq: str, path: str) -> dict[Value, Finding]:
    found = dict(zip(region.inputs, inputs, strict=True))
    known: dict[tuple[Region, tuple[Dependence, ...]], tuple[Finding, ...]] = {}
    for node in region.nodes:
        given = tuple(found[value] for value in node.inputs if value is not None)
        if isinstance(node, Call):
            key = (node.region, tuple(finding.level for finding in given))
            if key not in known:
                inner = _region(node.region, given, seq=seq, path=join(path, node.path))
                results = (*node.region.outputs, *node.region.side.values())
                known[key] = tuple(inner[value] for value in results)
            found |= dict(zip(node.outputs, known[key], strict=True))
            continue
        worst = max(given, key=lambda finding: finding.level, default=POINTWISE)
        own = node.op.dependence(node, seq)
        finding = Finding(own, join(path, _block_of(region, node.path))) if own > worst.level else worst
        found |= dict.fromkeys(node.outputs, finding)
    return found


def revises(program: Program) -> bool:
    """Whether later tokens change what is computed for earlier ones, by an op that says so of itself."""
    return any(isinstance(node, Node) and node.op.revises for region in distinct(program.root) for node in region.nodes)


def _block_of(region: Region, path: str) -> str:
    """The innermost block of the region that an op's path lies in."""
    inside = [mark for mark in region.marks if path == mark or path.startswith(f"{mark}.")]
    return max(inside, key=len, default="")
