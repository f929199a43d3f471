"""Sharing, in a region that is complete: a block's parameters replaced by those of the block it shares with.

Blocks expand as if nothing were shared. Then a call whose parameters are all another call's, and whose region is the
same, becomes one more call of that one's instance; everywhere else the owner's parameters are read where they are and
handed in as values. Owner and borrower always lie in one scope, so all of it happens inside the region of that scope.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from flexit.ir.analysis.structure import Structures
from flexit.ir.block import Fault
from flexit.ir.ops.parameter import Parameter
from flexit.ir.program import Call, Node, Param, Region, Value, at_path, join, walk
from flexit.ir.types import Type


def join_shared(region: Region, owners: Mapping[str, str]) -> tuple[Region, list[tuple[str, Fault]]]:
    """The same region without the parameters of blocks that share.

    Args:
        region: a complete region; regions that it calls have been treated themselves.
        owners: path of a block in it -> path of the block whose parameters it uses.

    Returns:
        The region, and what does not fit, each with the path of the block that shares.
    """
    if not owners:
        return region, []
    params = _params(region)
    paths = sorted(params)
    faults = [(name, fault) for name in owners if (fault := _unfit(name, paths, owners=owners, params=params))]
    targets = {} if faults else _targets(params, owners)
    return (_Joiner(region, targets).joined() if targets else region), faults


def kept(params: Mapping[str, Param], owners: Mapping[str, str]) -> dict[str, Param]:
    """Those of these parameters, by path, that are no other's once sharing is through."""
    return {path: param for path, param in params.items() if _step(path, owners, params) is None}


def _unfit(
    borrower: str, paths: Sequence[str], *, owners: Mapping[str, str], params: Mapping[str, Param]
) -> Fault | None:
    """What stands against using an owner's parameters: there are none, one has no place, or another shape there."""
    owner = owners[borrower]
    start, end = (bisect_left(paths, owner + after) for after in (".", "/"))  # all that begins with "owner."
    if start == end:
        return Fault(
            code="FX0701", field="shares", message=f"{owner} has no parameters", expected="a block that has some",
            found=owner, cure="delete shares",
        )  # fmt: skip
    for path in paths[start:end]:
        if _step(path, owners, params, inside=owner) is not None:
            continue  # one that the owner shares within itself
        own = params.get(borrower + path[len(owner) :])
        if own is None or own.shape != params[path].shape:
            how = "would have no place" if own is None else "would have another shape"
            return Fault(
                code="FX0703", field="shares", message=f"{path} {how} in {borrower}",
                expected=f"{list(params[path].shape)}, as {owner} has it",
                found="nothing" if own is None else f"{list(own.shape)}",
                cure="delete the field that changes it, or delete shares",
            )  # fmt: skip
    return None


def _targets(params: Mapping[str, Param], owners: Mapping[str, str]) -> dict[str, str]:
    """Path of a parameter -> path of the parameter that takes its place."""
    targets: dict[str, str] = {}
    for path in params:
        found = path
        while (step := _step(found, owners, params)) is not None:
            found = step
        if found != path:
            targets[path] = found
    return targets


def _step(path: str, owners: Mapping[str, str], params: Mapping[str, Param], *, inside: str = "") -> str | None:
    """The parameter that an owner has in place of this one, if a block around it shares (and lies in ``inside``)."""
    for borrower in _prefixes(path):
        owner = owners.get(borrower)
        if owner is not None and len(borrower) > len(inside) and owner + path[len(borrower) :] in params:
            return owner + path[len(borrower) :]
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
