"""``lora``: a branch of low rank beside chosen matrices, ``y = W x + scale * B (A x)`` (Hu et al. 2021, arXiv
2106.09685). Matrices of experts get a branch each, stacked as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from flexit.ir.ops.binary import Binary
from flexit.ir.ops.dropout import Dropout
from flexit.ir.ops.experts import Experts
from flexit.ir.ops.linear import Linear
from flexit.ir.passes.edit import edit
from flexit.ir.program import Call, Node, Param, Program, Region, Value, join, walk

A, B = "lora_a.weight", "lora_b.weight"
"""Names of the two matrices below the module of the one that they stand beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """What stands beside a matrix.

    Attributes:
        rank: rows of A, columns of B.
        scale: factor of the branch.
        dropout: on what the branch reads.
    """

    rank: int
    scale: float
    dropout: float = 0.0


def adaptable(program: Program) -> dict[str, tuple[int, ...]]:
    """Lengths of each matrix that a branch may stand beside, by absolute path: it is read by linear maps alone."""
    found: dict[str, tuple[int, ...]] = {}
    elsewhere: set[str] = set()
    for prefix, region in walk(program.root):
        for node in region.nodes:
            if isinstance(node, Node):
                matrices = {*_matrices(node)}
                for slot, param in node.params.items():
                    if isinstance(param, Param):
                        path = join(prefix, param.path)
                        found |= {path: param.shape} if slot in matrices else {}
                        elsewhere |= set[str]() if slot in matrices else {path}
    return {path: shape for path, shape in found.items() if path not in elsewhere}


def lora(program: Program, targets: Mapping[str, LowRank]) -> Program:
    """The program with branches beside matrices.

    Args:
        program: what computes.
        targets: by absolute path of the matrix, one of :func:`adaptable`; all alike.
    """
    kinds = {*targets.values()}
    assert len(kinds) <= 1, "branches of one program are alike"
    for low in kinds:
        program = edit(program, targets, lambda region, meant, low=low: _adapted(region, meant, low))
    return program


def beside(path: str) -> tuple[str, str]:
    """Paths of A and B of a matrix."""
    module = path.rpartition(".")[0]
    return join(module, A), join(module, B)


def _matrices(node: Node) -> Iterator[str]:
    """Slots of an op that hold a matrix of a linear map and nothing else."""
    if isinstance(node.op, Linear) and not node.op.tied:
        yield "weight"
    if isinstance(node.op, Experts):
        inner = [each for each in node.op.body.nodes if isinstance(each, Node)]
        linear = [each.params["weight"] for each in inner if isinstance(each.op, Linear)]
        yield from (param.path for param in linear if isinstance(param, Param))


def _adapted(region: Region, meant: frozenset[str], low: LowRank) -> Region:
    nodes: list[Node | Call] = []
    for node in region.nodes:
        slots = [] if isinstance(node, Call) else [slot for slot in _matrices(node) if _path(node, slot) in meant]
        if isinstance(node, Call) or not slots:
            nodes.append(node)
        elif isinstance(node.op, Experts):
            nodes.append(_experts(node, node.op, slots, low=low))
        else:
            nodes += _branch(node, low)
    return replace(region, nodes=tuple(nodes))


def _path(node: Node, slot: str) -> str | None:
    param = node.params.get(slot)
    return param.path if isinstance(param, Param) else None


def _branch(node: Node, low: LowRank) -> Iterator[Node]:
    """A linear map and the branch beside it, whose sum is the value that the map had."""
    x, weight = node.inputs[0], node.params["weight"]
    assert x is not None and isinstance(weight, Param) and isinstance(node.op, Linear)
    a, b = beside(weight.path)
    width, d_out = weight.shape[-1], weight.shape[-2]

    def value(name: str, like: Value, last: int) -> Value:
        return Value(f"{node.output.name}.{name}", like.type.with_dims((*like.dims[:-1], last)))

    def linear(name: str, read: Value, out: Value, *, param: Param) -> Node:
        op = Linear(d_out=param.shape[0])
        return Node(op=op, inputs=(read,), outputs=(out,), path=join(node.path, name), params={"weight": param})

    plain = value("plain", node.output, d_out)
    yield replace(node, outputs=(plain,))
    read = x
    if low.dropout:
        read = value("dropped", x, width)
        yield Node(op=Dropout(p=low.dropout), inputs=(x,), outputs=(read,), path=join(node.path, "lora_dropout"))
    small, wide = value("low", x, low.rank), value("wide", node.output, d_out)
    scaled = value("scaled", node.output, d_out)
    yield linear("lora_a", read, small, param=Param(path=a, shape=(low.rank, width), role="projection", width=width))
    yield linear("lora_b", small, wide, param=Param(path=b, shape=(d_out, low.rank), role="projection", width=width))
    yield Node(op=Binary(fn="mul", scalar=low.scale), inputs=(wide,), outputs=(scaled,), path=join(node.path, "lora"))
    yield Node(op=Binary(fn="add"), inputs=(plain, scaled), outputs=node.outputs, path=join(node.path, "lora"))


def _experts(node: Node, op: Experts, slots: list[str], *, low: LowRank) -> Node:
    """Experts with branches in their body, whose parameters are stacked."""
    body = _adapted(op.body, frozenset(slots), low)
    params = dict(node.params)
    for slot in slots:
        held = node.params[slot]
        assert isinstance(held, Param)
        n_experts, d_out, width = held.shape
        shapes = (n_experts, low.rank, width), (n_experts, d_out, low.rank)
        for inner, outer, shape in zip(beside(slot), beside(held.path), shapes, strict=True):
            params[inner] = Param(path=outer, shape=shape, role="projection", width=width)
    return replace(node, op=replace(op, body=body), params=params)
