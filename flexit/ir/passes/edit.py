"""``edit``: what passes that go by parameters share: each region instance is rewritten by those of its parameters that
are meant, and instances that mean the same stay one region.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from flexit.ir.program import Call, Program, Region, join

Rewrite = Callable[[Region, frozenset[str]], Region]
"""A region and the paths in it that are meant -> the region in its place, with the same inputs and outputs."""


def edit(program: Program, paths: Collection[str], rewrite: Rewrite) -> Program:
    """The program with every region rewritten that holds one of some parameters.

    Args:
        program: what is rewritten.
        paths: absolute paths of parameters.
        rewrite: called once for each region and set of relative paths, which is never empty.
    """
    editor = _Editor(frozenset(paths), rewrite)
    root = editor.region(program.root, "")
    return program if root is program.root else replace(program, root=root)


class _Editor:
    def __init__(self, paths: frozenset[str], rewrite: Rewrite) -> None:
        self.paths = paths
        self.rewrite = rewrite
        self.done: dict[tuple[Region, frozenset[str], tuple[Region, ...]], Region] = {}

    def region(self, region: Region, prefix: str) -> Region:
        """The region in the place of one instance, whose parameters begin with ``prefix``."""
        nodes = tuple(self._call(node, prefix) if isinstance(node, Call) else node for node in region.nodes)
        meant = frozenset(param.path for param in region.params if join(prefix, param.path) in self.paths)
        called = tuple(node.region for node in nodes if isinstance(node, Call))
        key = (region, meant, called)
        if key not in self.done:
            same = all(a is b for a, b in zip(nodes, region.nodes, strict=True))
            inner = region if same else replace(region, nodes=nodes)
            self.done[key] = self.rewrite(inner, meant) if meant else inner
        return self.done[key]

    def _call(self, call: Call, prefix: str) -> Call:
        region = self.region(call.region, join(prefix, call.weights))
        return call if region is call.region else replace(call, region=region)
