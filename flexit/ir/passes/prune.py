"""``prune``: drop nodes whose results nobody uses, inputs of regions that nobody reads then, unused graph inputs."""

from __future__ import annotations

from dataclasses import replace

from flexit.ir.program import Call, Node, Program, Region, Value


def prune(program: Program) -> Program:
    """The same outputs and side outputs from fewer nodes. States of dropped ops disappear with them."""
    root, used = _Pruner().region(program.root, keep_inputs=True)
    del used
    read = _read(root)
    inputs = tuple(
        entry for entry in program.inputs if entry.value in read or entry.role in ("ids", "values", "vector")
    )
    if root is program.root and len(inputs) == len(program.inputs):
        return program
    kept = {entry.value for entry in inputs}
    root = replace(root, inputs=tuple(value for value in root.inputs if value in kept))
    return replace(program, root=root, inputs=inputs)


def _read(region: Region) -> set[Value]:
    values = {value for node in region.nodes for value in node.inputs if value is not None}
    return values | set(region.outputs) | set(region.side.values())


class _Pruner:
    def __init__(self) -> None:
        self.done: dict[Region, tuple[Region, tuple[bool, ...]]] = {}

    def region(self, region: Region, *, keep_inputs: bool = False) -> tuple[Region, tuple[bool, ...]]:
        """The pruned region, and which of its inputs it still takes."""
        if region not in self.done:
            self.done[region] = self._pruned(region, keep_inputs)
        return self.done[region]

    def _pruned(self, region: Region, keep_inputs: bool) -> tuple[Region, tuple[bool, ...]]:
        live = {*region.outputs, *region.side.values()}
        nodes: list[Node | Call] = []
        for node in reversed(region.nodes):
            if not any(value in live for value in node.outputs):
                continue
            kept = self._call(node) if isinstance(node, Call) else node
            nodes.append(kept)
            live |= {value for value in kept.inputs if value is not None}
            live |= (
                {value for value in kept.params.values() if isinstance(value, Value)}
                if isinstance(kept, Node)
                else set()
            )
        takes = tuple(keep_inputs or value in live for value in region.inputs)
        inputs = tuple(value for value, taken in zip(region.inputs, takes, strict=True) if taken)
        made = {*inputs, *(value for node in nodes for value in node.outputs)}
        marks = {path: value for path, value in region.marks.items() if value in made}
        same = len(nodes) == len(region.nodes) and all(
            a is b for a, b in zip(reversed(nodes), region.nodes, strict=True)
        )
        if same and all(takes):
            return region, takes
        return replace(region, inputs=inputs, nodes=tuple(reversed(nodes)), marks=marks), takes

    def _call(self, call: Call) -> Call:
        region, takes = self.region(call.region)
        if region is call.region:
            return call
        inputs = tuple(value for value, taken in zip(call.inputs, takes, strict=True) if taken)
        return replace(call, region=region, inputs=inputs)
