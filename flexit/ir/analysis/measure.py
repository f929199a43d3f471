"""Sums over a program: parameters, FLOPs, states and activations, each region measured once however often it is called.

What the sums mean to a user is in :mod:`flexit.ir.analysis.cost`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from flexit.ir.dims import Size, evaluate
from flexit.ir.ops.attention import Attention
from flexit.ir.ops.experts import Experts
from flexit.ir.ops.linear import Linear
from flexit.ir.ops.op import product
from flexit.ir.program import Call, Node, Param, Region, State, Value
from flexit.ir.types import Type

_VIEWS = ("expand", "given", "keep", "parameter", "permute", "reshape", "slice")
"""Ops whose result takes no memory of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What some part of a program needs, at given lengths.

    Attributes:
        parameters: elements of trained arrays, shared ones once.
        active: those that one token uses: of a mixture, the chosen experts.
        matrices: elements that only matrix products read, so that they can be stored in few bits.
        rows: output rows of those matrices, each of which needs a scale.
        flops: matmul-class floating point operations.
        activations: float elements of all results.
        cache_per_token: fp32 elements (an id counts as two) that one more decoded token adds to the states of a row.
        cache_fixed: float elements of the states that do not grow, for one sequence.
        reads: elements of parameters, once for every op that reads them.
        largest: elements of the largest single parameter.
    """

    parameters: int = 0
    active: int = 0
    matrices: int = 0
    rows: int = 0
    flops: int = 0
    activations: int = 0
    cache_per_token: int = 0
    cache_fixed: int = 0
    reads: int = 0
    largest: int = 0

    def plus(self, other: Amount, times: int = 1) -> Amount:
        """This and ``times`` of the other."""
        return Amount(
            parameters=self.parameters + times * other.parameters,
            active=self.active + times * other.active,
            matrices=self.matrices + times * other.matrices,
            rows=self.rows + times * other.rows,
            flops=self.flops + times * other.flops,
            activations=self.activations + times * other.activations,
            cache_per_token=self.cache_per_token + times * other.cache_per_token,
            cache_fixed=self.cache_fixed + times * other.cache_fixed,
            reads=self.reads + times * other.reads,
            largest=max(self.largest, other.largest),
        )

    def weights(self) -> Amount:
        """The part that belongs to parameters."""
        return Amount(
            parameters=self.parameters, active=self.active, matrices=self.matrices, rows=self.rows, largest=self.largest
        )

    def work(self) -> Amount:
        """The part that belongs to computing."""
        return Amount(
            flops=self.flops, activations=self.activations, cache_per_token=self.cache_per_token,
            cache_fixed=self.cache_fixed, reads=self.reads,
        )  # fmt: skip


NOTHING = Amount()


def total(amounts: Iterable[Amount]) -> Amount:
    """The sum."""
    result = NOTHING
    for amount in amounts:
        result = result.plus(amount)
    return result


class Measures:
    """Amounts of the regions of one program.

    Args:
        lengths: value of every length symbol in a forward over whole sequences.
        decoded: length symbols (new tokens, all tokens) of the decoded input, if there is one.
    """

    def __init__(self, lengths: Mapping[str, int], decoded: tuple[str, str] | None) -> None:
        self.lengths = lengths
        self.decoded = decoded
        self._regions: dict[Region, Amount] = {}
        self._types: dict[Type, int] = {}

    def region(self, region: Region) -> Amount:
        """One instance of a region with everything it calls."""
        if region not in self._regions:
            amount = total(amount for _, amount in self.params(region))
            for call, count in _alike(region):
                amount = amount.plus(self.region(call.region).work(), count)
            for call, count in _owned(region):
                amount = amount.plus(self.region(call.region).weights(), count)
            for node in region.nodes:
                if isinstance(node, Node):
                    amount = amount.plus(self.node(node))
            self._regions[region] = amount
        return self._regions[region]

    def node(self, node: Node) -> Amount:
        """One op, its parameters not counted."""
        grows = fixed = 0
        for state in node.states:
            one, none = self._state(state, 1), self._state(state, 0)
            grows, fixed = grows + one - none, fixed + none
        return Amount(
            flops=node.op.flops(node, self.size), activations=self._activations(node), cache_per_token=grows,
            cache_fixed=fixed, reads=sum(_elements(param) for param in node.params.values()),
        )  # fmt: skip

    def params(self, region: Region) -> Iterator[tuple[str, Amount]]:
        """Path and amount of each parameter that the region itself holds and no region that it calls."""
        readers: dict[str, list[tuple[Param, Node, str]]] = {}
        for node in region.nodes:
            if isinstance(node, Node):
                for slot, param in node.params.items():
                    if isinstance(param, Param):
                        readers.setdefault(param.path, []).append((param, node, slot))
        owners = {node.weights: node.region for node in region.nodes if isinstance(node, Call)} if readers else {}
        for path, uses in readers.items():
            if not holds_below(owners, path):
                yield path, _param(uses)

    def size(self, dim: Size) -> int:
        """A length in numbers."""
        return evaluate(dim, self.lengths)

    def elements(self, of: Type) -> int:
        """Elements of a value."""
        if of not in self._types:
            self._types[of] = product(of.dims, self.size)
        return self._types[of]

    def _state(self, state: State, tokens: int) -> int:
        lengths = dict(self.lengths) | {"batch": 1}
        if self.decoded is not None:
            new, every = self.decoded
            lengths |= {new: 0, every: tokens}
        words = 2 if state.type.dtype == "i64" else 1
        return words * product(state.type.dims, lambda dim: evaluate(dim, lengths))

    def _activations(self, node: Node) -> int:
        if node.op.name in _VIEWS:
            return 0
        count = sum(self.elements(value.type) for value in node.outputs if value.dtype == "f32")
        if isinstance(node.op, Attention) and node.op.dropout:
            q, k = node.inputs[:2]
            assert q is not None and k is not None
            count += 2 * product((*q.dims[:3], k.dims[2]), self.size)
        return count + (self._inside(node, node.op) if isinstance(node.op, Experts) else 0)

    def _inside(self, node: Node, op: Experts) -> int:
        """Elements of the results inside all chosen experts."""
        index = node.inputs[1]
        assert index is not None
        tokens = product(index.dims, self.size)
        results = (value for inner in op.body.nodes for value in inner.outputs)
        return sum(product(value.dims, lambda dim: dim if isinstance(dim, int) else tokens) for value in results)


def distinct(root: Region) -> Iterator[Region]:
    """Every region once, callers first."""
    seen: set[Region] = set()
    waiting = [root]
    while waiting:
        region = waiting.pop()
        if region not in seen:
            seen.add(region)
            yield region
            waiting += {node.region: None for node in region.nodes if isinstance(node, Call)}


def holds(region: Region, path: str) -> bool:
    """Whether a parameter of this relative path lives in the region or below."""
    if any(param.path == path for param in region.params):
        return True
    return holds_below({node.weights: node.region for node in region.nodes if isinstance(node, Call)}, path)


def holds_below(owners: Mapping[str, Region], path: str) -> bool:
    """Whether one of the called regions, by the prefix of its parameters, holds ``path``."""
    end = path.rfind(".")
    while end > 0:
        region = owners.get(path[:end])
        if region is not None and holds(region, path[end + 1 :]):
            return True
        end = path.rfind(".", 0, end)
    return False


def _alike(region: Region) -> Iterator[tuple[Call, int]]:
    """One call of each called region, and how many there are."""
    return _counted(node for node in region.nodes if isinstance(node, Call))


def _owned(region: Region) -> Iterator[tuple[Call, int]]:
    """The same, of the calls with parameters of their own: of those that share, the first."""
    first: dict[str, Call] = {}
    for node in region.nodes:
        if isinstance(node, Call):
            first.setdefault(node.weights, node)
    return _counted(first.values())


def _counted(calls: Iterable[Call]) -> Iterator[tuple[Call, int]]:
    counts: dict[Region, int] = {}
    first: dict[Region, Call] = {}
    for call in calls:
        first.setdefault(call.region, call)
        counts[call.region] = counts.get(call.region, 0) + 1
    return ((call, counts[region]) for region, call in first.items())


def _param(uses: list[tuple[Param, Node, str]]) -> Amount:
    """One parameter, by who reads it."""
    param, node, _ = uses[0]
    packed = all(_is_matrix(node, slot) for _, node, slot in uses)
    return Amount(
        parameters=param.size,
        active=param.size * _chosen(node) // node.op.n_experts if isinstance(node.op, Experts) else param.size,
        matrices=param.size if packed else 0,
        rows=param.size // param.shape[-1] if packed else 0,
        largest=param.size,
    )


def _elements(param: Param | Value) -> int:
    """Elements of a parameter, also where another region holds it."""
    shape = param.shape if isinstance(param, Param) else param.dims
    return product(shape, lambda dim: dim if isinstance(dim, int) else 0)


def _is_matrix(node: Node, slot: str) -> bool:
    """Whether a matrix product reads the parameter in this slot as its matrix."""
    param = node.params[slot]
    rank = 3 if isinstance(node.op, Experts) else 2
    return isinstance(node.op, Linear | Experts) and isinstance(param, Param) and len(param.shape) == rank


def _chosen(node: Node) -> int:
    """How many experts one token uses."""
    index = node.inputs[1]
    assert index is not None and isinstance(index.dims[-1], int)
    return index.dims[-1]
