"""Sharing, in a region that is complete: a block's parameters replaced by those of the block it shares with.

Blocks expand as if nothing were shared. Then a call whose parameters are all another call's, and whose region is the
same, becomes one more call of that one's instance; everywhere else the owner's parameters are read where they are and
handed in as values. Owner and borrower always lie in one scope, so all of it happens inside the region of that scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from flexit.ir.ops.parameter import Parameter
from flexit.ir.program import Call, Node, Param, Region, Value, at_path, join, walk
from flexit.ir.structure import Structures
from flexit.ir.types import Type


@dataclass(frozen=True, slots=True)
class Clash:
    """A parameter that the borrower would have in another shape than the owner; paths are relative to the region."""

    borrower: str
    path: str
    shape: tuple[int, ...]
    known: Param


def join_shared(region: Region, owners: Mapping[str, str]) -> tuple[Region, list[Clash]]:
    """The same region without the parameters of blocks that share.

    Args:
        region: a complete region; regions that it calls have been treated themselves.
        owners: path of a block in it -> path of the block whose parameters it uses.

    Returns:
        The region, and shapes that do not fit, of each block the first.
    """
    if not owners:
        return region, []
    targets, clashes = _targets(region, owners)
    return (region, clashes) if clashes or not targets else (_Joiner(region, targets).joined(), clashes)


def _targets(region: Region, owners: Mapping[str, str]) -> tuple[dict[str, str], list[Clash]]:
    """Path of a parameter -> path of the parameter that takes its place."""
    params = _params(region)
    targets: dict[str, str] = {}
    clashes: dict[str, Clash] = {}
    for path, param in params.items():
        found = path
        while (step := _step(found, owners, params)) is not None:
            borrower, found = step
            if params[found].shape != param.shape:
                clashes.setdefault(borrower, Clash(borrower, path, param.shape, at_path(params[found], found)))
        if found != path:
            targets[path] = found
    return targets, list(clashes.values())


def _step(path: str, owners: Mapping[str, str], params: Mapping[str, Param]) -> tuple[str, str] | None:
    """The block around a parameter that shares, and the parameter of its owner; None where the owner has none."""
    for borrower in _prefixes(path):
        owner = owners.get(borrower)
        if owner is not None and owner + path[len(borrower) :] in params:
            return borrower, owner + path[len(borrower) :]
    return None


def _prefixes(path: str) -> Iterator[str]:
    end = path.find(".")
    while end >= 0:
        yield path[:end]
        end = path.find(".", end + 1)


def _params(region: Region) -> dict[str, Param]:
    """Every parameter of a region and of what it calls, by path."""
    return {join(prefix, param.path): param for prefix, inner in walk(region) for param in inner.params}


class _Joiner:
    """Rewrites one region."""

    def __init__(self, region: Region, targets: Mapping[str, str]) -> None:
        self.region = region
        self.targets = targets
        self.params = _params(region)
        self.calls = {node.weights: node.region for node in region.nodes if isinstance(node, Call)}
        self.structures = Structures()
        self.read: dict[str, Node] = {}
        self._below: dict[Region, tuple[str, ...]] = {}
        self._open: dict[tuple[Region, frozenset[str]], Region] = {}

    def joined(self) -> Region:
        nodes = [self._call(node) if isinstance(node, Call) else self._node(node) for node in self.region.nodes]
        return replace(self.region, nodes=(*self.read.values(), *nodes))

    def _value(self, path: str) -> Value:
        """The parameter at a path, read once at the beginning of the region."""
        if path not in self.read:
            param = at_path(self.params[path], path)
            op = Parameter(shape=param.shape, borrowed=True)
            value = Value(_unused(path.replace(".", "_"), self.region), *op.infer())
            self.read[path] = Node(op=op, inputs=(), outputs=(value,), path=path, params={"value": param})
        return self.read[path].output

    def _node(self, node: Node) -> Node:
        values = {
            slot: self._value(self.targets[param.path])
            for slot, param in node.params.items()
            if isinstance(param, Param) and param.path in self.targets
        }
        return replace(node, params={**node.params, **values}) if values else node

    def _call(self, call: Call) -> Call:
        below = self._paths(call.region)
        mine = {path: self.targets[at] for path in below if (at := join(call.weights, path)) in self.targets}
        if not mine:
            return call
        owner = self._owner(call.region, mine, whole=len(mine) == len(below))
        if owner is not None:
            return replace(call, weights=owner)
        region = self._opened(call.region, frozenset(mine))
        return replace(call, region=region, inputs=(*call.inputs, *(self._value(mine[path]) for path in sorted(mine))))

    def _owner(self, region: Region, mine: Mapping[str, str], *, whole: bool) -> str | None:
        """The call in this region whose instance does for one of ``region``, if there is one."""
        path, target = next(iter(mine.items()))
        owner = target.removesuffix(f".{path}")
        fits = whole and all(target == join(owner, path) for path, target in mine.items())
        theirs = self.calls.get(owner) if fits else None
        return owner if theirs is not None and self.structures.of(theirs) == self.structures.of(region) else None

    def _paths(self, region: Region) -> tuple[str, ...]:
        if region not in self._below:
            self._below[region] = tuple(_params(region))
        return self._below[region]

    def _opened(self, region: Region, paths: frozenset[str]) -> Region:
        """A region that is handed these parameters, in the order of their paths."""
        key = (region, paths)
        if key not in self._open:
            shapes = _params(region)
            values = {
                path: Value(_unused(path.replace(".", "_"), region), Type("f32", shapes[path].shape))
                for path in sorted(paths)
            }
            nodes = [self._handed(node, values) for node in region.nodes]
            inputs = (*region.inputs, *values.values())
            self._open[key] = replace(region, inputs=inputs, nodes=tuple(nodes))
        return self._open[key]

    def _handed(self, node: Node | Call, values: Mapping[str, Value]) -> Node | Call:
        """A node of an opened region."""
        if isinstance(node, Node):
            params = {
                slot: values.get(param.path, param) if isinstance(param, Param) else param
                for slot, param in node.params.items()
            }
            return replace(node, params=params)
        inner = {path: values[at] for path in self._paths(node.region) if (at := join(node.weights, path)) in values}
        if not inner:
            return node
        region = self._opened(node.region, frozenset(inner))
        return replace(node, region=region, inputs=(*node.inputs, *(inner[path] for path in sorted(inner))))


def _unused(name: str, region: Region) -> str:
    """A name that no value of the region has."""
    taken = {value.name for value in region.inputs}
    taken |= {value.name for node in region.nodes for value in node.outputs}
    while name in taken:
        name = f"{name}_"
    return name
