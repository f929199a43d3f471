"""What a training step keeps of the forward for the backward: float elements, as autograd keeps them on a CPU.

A result is counted once however many ops keep it; views are what they are views of, and parameters are none of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from flexit.ir.analysis.measure import Measures
from flexit.ir.ops.attention import Attention
from flexit.ir.ops.binary import Binary
from flexit.ir.ops.dropout import Dropout
from flexit.ir.ops.experts import Experts
from flexit.ir.ops.linear import Linear
from flexit.ir.ops.norm import Norm
from flexit.ir.ops.op import product
from flexit.ir.ops.reduce import Reduce
from flexit.ir.ops.unary import Unary
from flexit.ir.program import Call, Node, Param, Region, Value

_LAYER = re.compile(r"(.*\.)?layers\.\d+")
_VIEWS = frozenset({"append", "expand", "given", "keep", "permute", "reshape", "slice"})
_OF_RESULT = frozenset({"tanh", "sigmoid", "exp", "sqrt", "relu"})
_OF_NOTHING = frozenset({"neg", "floor", "round_bf16", "relu2"})
_OF_A_STEP = frozenset({"quick_gelu", "relu2"})
"""Functions in several steps, of which one keeps a result that has no name."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one call of a region keeps.

    Attributes:
        own: elements that were made inside.
        inputs: places of the inputs that are kept.
        outputs: places of the outputs that are among ``own``.
        passed: place of an output -> place of the input that it is a view of.
        learned: places of the outputs that a gradient goes through.
    """

    own: int
    inputs: frozenset[int]
    outputs: frozenset[int]
    passed: dict[int, int]
    learned: frozenset[int]


@dataclass(slots=True)
class _Walk:
    """A region under way.

    Attributes:
        base: of a view, what it is a view of.
        learned: values that a gradient goes through.
        kept: what is kept, views resolved.
        counted: values that something else counts: parameters, and what a call keeps already.
        extra: elements of what has no name in the program.
    """

    learned: set[Value]
    base: dict[Value, Value] = field(default_factory=dict[Value, Value])
    kept: set[Value] = field(default_factory=set[Value])
    counted: set[Value] = field(default_factory=set[Value])
    extra: int = 0

    def of(self, value: Value) -> Value:
        """What a value is a view of, or itself."""
        return self.base.get(value, value)

    def keep(self, *values: Value | None) -> None:
        """Note that values are kept."""
        self.kept |= {self.of(value) for value in values if value is not None and value.dtype == "f32"}


class Kept:
    """Elements that autograd keeps of the regions of one program.

    Attributes:
        again: those of the largest layer that is computed again, and then kept for its own backward.
    """

    def __init__(self, measures: Measures, *, recompute: bool = False) -> None:
        """Of one program.

        Args:
            measures: its sizes.
            recompute: whether a layer is computed again in backward, so that its inputs are all that is kept of it.
        """
        self.again = 0
        self._measures = measures
        self._recompute = recompute
        self._known: dict[tuple[Region, tuple[bool, ...]], Summary] = {}

    def region(self, region: Region, learned: tuple[bool, ...]) -> Summary:
        """What one call keeps, ``learned`` saying through which inputs a gradient goes."""
        key = (region, learned)
        if key not in self._known:
            self._known[key] = self._walked(region, learned)
        return self._known[key]

    def _walked(self, region: Region, learned: tuple[bool, ...]) -> Summary:
        walk = _Walk({value for value, goes in zip(region.inputs, learned, strict=True) if goes})
        for node in region.nodes:
            if isinstance(node, Call):
                self._call(node, walk)
            else:
                self._node(node, walk)
        places = {value: place for place, value in enumerate(region.inputs)}
        results = [walk.of(value) for value in (*region.outputs, *region.side.values())]
        made = walk.kept - set(places) - walk.counted
        return Summary(
            own=walk.extra + sum(self._measures.elements(value.type) for value in made),
            inputs=frozenset(places[value] for value in walk.kept if value in places),
            outputs=frozenset(j for j, value in enumerate(results) if value in walk.kept | walk.counted),
            passed={j: places[value] for j, value in enumerate(results) if value in places},
            learned=frozenset(
                j for j, value in enumerate((*region.outputs, *region.side.values())) if value in walk.learned
            ),
        )  # fmt: skip

    def _call(self, call: Call, walk: _Walk) -> None:
        learned = tuple(value in walk.learned for value in call.inputs)
        again = self._recompute and _LAYER.fullmatch(call.path) is not None
        inner = Kept(self._measures).region(call.region, learned) if again else self.region(call.region, learned)
        if again:
            self.again = max(self.again, inner.own)
            walk.keep(*call.inputs)
        else:
            walk.extra += inner.own
            walk.keep(*(call.inputs[place] for place in inner.inputs))
        for place, value in enumerate(call.outputs):
            if place in inner.passed:
                walk.base[value] = walk.of(call.inputs[inner.passed[place]])
            elif place in inner.outputs and not again:
                walk.counted.add(value)
            if place in inner.learned:
                walk.learned.add(value)

    def _node(self, node: Node, walk: _Walk) -> None:
        if node.op.name == "parameter":
            walk.counted.update(node.outputs)
            walk.learned.update(node.outputs if _learns(node.params["value"], walk) else ())
            return
        if node.op.name in _VIEWS and node.inputs[0] is not None:
            walk.base[node.output] = walk.of(node.inputs[0])
        trained = any(_learns(value, walk) for value in node.params.values())
        if trained or any(value in walk.learned for value in node.inputs if value is not None):
            walk.learned |= {value for value in node.outputs if value.dtype == "f32"}
            if not isinstance(node.op, Linear) or _learns(node.params["weight"], walk):  # else of no use to a gradient
                self._ops(node, walk)

    def _ops(self, node: Node, walk: _Walk) -> None:
        """Note what an op keeps that a gradient goes through."""
        size, x = self._measures.elements, node.inputs[0]
        assert x is not None
        match node.op:
            case Attention() as op:
                self._attention(node, op, walk)
            case Unary(fn=fn):
                walk.keep(*([] if fn in _OF_NOTHING else [node.output] if fn in _OF_RESULT else [x]))
                walk.extra += size(x.type) if fn in _OF_A_STEP else 0
            case Binary() as op:
                self._binary(node, op, walk)
            case Dropout(per_row=False):
                walk.extra += size(node.output.type)
            case Norm() as op:
                walk.keep(x)
                rows = size(x.type) // max(1, self._measures.size(x.dims[-1]))
                walk.extra += {"rms": 1, "std": 2}.get(op.kind, 0) * size(x.type) + 2 * rows
            case Experts() as op:
                walk.extra += self._experts(node, op)
            case Reduce(fn="max"):
                walk.keep(x, node.output)
            case _ if node.op.name in ("linear", "causal_conv", "xielu", "matmul"):
                walk.keep(*node.inputs)
            case _ if node.op.name == "softmax":
                walk.keep(node.output)
            case _:
                pass

    def _binary(self, node: Node, op: Binary, walk: _Walk) -> None:
        """A factor is kept for the gradient of the other one."""
        x, y = node.inputs[0], node.inputs[1] if op.scalar is None else None
        if op.fn in ("add", "sub") or (y is None and op.fn in ("mul", "div")):
            return
        if op.fn == "mul":
            walk.keep(*(value for value, other in ((x, y), (y, x)) if other in walk.learned))
        else:
            walk.keep(x, y)

    def _attention(self, node: Node, op: Attention, walk: _Walk) -> None:
        """The fused kernel keeps its operands, its result and a float mask; what is written out keeps its weights."""
        q, k, v, mask, bias = node.inputs[:5]
        assert q is not None and k is not None and v is not None
        rows = product(q.dims[:3], self._measures.size)
        weights = rows * self._measures.size(k.dims[2])
        fused = op.softcap is None and not op.dropout and all(value is None for value in node.inputs[5:])
        if fused and (bias is None or bias not in walk.learned):
            walk.keep(q, k, v, node.output)
            walk.extra += rows + (self._measures.elements(mask.type) if mask is not None else 0)
            if walk.of(q) is q:  # the result is laid out like the queries: only rows of views are joined without a copy
                walk.extra += self._measures.elements(node.output.type)
            return
        size = self._measures.elements
        walk.keep(v)
        walk.extra += weights + size(q.type) + size(k.type) + (2 * weights if op.dropout else 0)
        walk.extra += weights if op.softcap is not None else 0

    def _experts(self, node: Node, op: Experts) -> int:
        """The tokens that were chosen, and all results of the bodies on them."""
        x, index = node.inputs[0], node.inputs[1]
        assert x is not None and index is not None
        chosen = product(index.dims, self._measures.size)
        results = (value for inner in op.body.nodes for value in inner.outputs)
        inside = sum(product(value.dims, lambda dim: dim if isinstance(dim, int) else chosen) for value in results)
        return inside + chosen * self._measures.size(x.dims[-1])


def _learns(weight: Param | Value, walk: _Walk) -> bool:
    """Whether a gradient is wanted of what an op reads as its parameter."""
    return weight.trained if isinstance(weight, Param) else weight in walk.learned


def kept(root: Region, measures: Measures, *, recompute: bool = False) -> tuple[int, int]:
    """Float elements that autograd keeps of one forward of a program, the loss not counted.

    Args:
        root: the program's outermost region.
        measures: its sizes.
        recompute: whether backward computes each layer of a stack again.

    Returns:
        What is kept, and what the largest layer that is computed again keeps besides, at its turn.
    """
    found = Kept(measures, recompute=recompute)
    return found.region(root, tuple(False for _ in root.inputs)).own, found.again
