"""Builds an ONNX graph node by node: names from IR paths, constants pooled by content, weights by reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from flexit.errors import LoweringError
from flexit.ir.dims import Clipped, Dim, Division, Size
from flexit.ir.program import Node, Param, State, Value
from flexit.ir.types import DType, Type
from flexit.lower.real import real_array

DTYPES: dict[DType, ir.DataType] = {"f32": ir.DataType.FLOAT, "i64": ir.DataType.INT64, "bool": ir.DataType.BOOL}
Arrayable = int | float | bool | Sequence[int] | Sequence[float] | np.ndarray[Any, Any] | np.generic
Operand = ir.Value | Arrayable | None


class Emitter:
    """One graph in the making. Calling it emits a node: ``e("Add", x, 1.0)``; plain numbers become constants.

    Attributes:
        values: program value -> ONNX value.
        past, present: states by path, where the graph has them.
        graph_inputs, graph_outputs: what the graph has of both so far.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        self.weights = weights
        self.values: dict[Value, ir.Value] = {}
        self.past: dict[str, ir.Value] = {}
        self.present: dict[str, ir.Value] = {}
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.symbols: dict[str, ir.Value] = {}
        self.prefix = ""
        self.graph_inputs: list[ir.Value] = []
        self.graph_outputs: list[ir.Value] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._names: dict[str, int] = {}

    def __call__(self, op: str, *inputs: Operand, **attributes: Any) -> ir.Value:
        """Emit a node of one result."""
        return self.many(op, 1, *inputs, **attributes)[0]

    def many(self, op: str, n_outputs: int, *inputs: Operand, **attributes: Any) -> list[ir.Value]:
        """Emit a node of several results."""
        used = [x if x is None or isinstance(x, ir.Value) else self.constant(x) for x in inputs]
        name = self.unique(f"{self.prefix}/{op}" if self.prefix else op)
        node = ir.node(op, used, attributes or None, num_outputs=n_outputs, name=name)
        for index, output in enumerate(node.outputs):
            output.name = name if n_outputs == 1 else f"{name}:{index}"
        self.nodes.append(node)
        return list(node.outputs)

    def unique(self, name: str) -> str:
        """``name``, numbered if it is taken."""
        count = self._names.get(name, 0) + 1
        self._names[name] = count
        return name if count == 1 else f"{name}_{count}"

    def constant(self, number: Arrayable) -> ir.Value:
        """An initializer; equal ones are one. Python floats are fp32, ints int64."""
        array = np.asarray(number)
        array = array.astype({"f": np.float32, "i": np.int64, "b": np.bool_}[array.dtype.kind])
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer(f"constant_{len(self._constants)}", array)
        return self._constants[key]

    def initializer(self, name: str, array: Any) -> ir.Value:
        """A stored array; one already an ``onnx_ir`` tensor is kept as it is, so that it can be read when written."""
        if name not in self.initializers:
            ready = isinstance(array, ir.TensorProtocol)
            tensor = array if ready else ir.tensor(np.asarray(array, order="C"), name=name)
            self.initializers[name] = ir.Value(
                name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
            )
        return self.initializers[name]

    def weight(self, node: Node, slot: str) -> ir.Value | None:
        """The parameter of an op, under its IR path; None where the op has no such slot."""
        param = node.params.get(slot)
        if param is None:
            return None
        return self.parameter(param.path) if isinstance(param, Param) else self.values[param]

    def parameter(self, path: str) -> ir.Value:
        """A parameter by path, in fp32."""
        value = self.weights[path]
        ready = isinstance(value, ir.TensorProtocol) and value.dtype == ir.DataType.FLOAT
        return self.initializer(path, value if ready else real_array(path, value).astype(np.float32, copy=False))

    def __getitem__(self, value: Value | None) -> ir.Value | None:
        return None if value is None else self.values[value]

    def inputs(self, node: Node) -> list[Any]:
        """The operands of an op."""
        return [self[value] for value in node.inputs]

    # ---- the ends of the graph

    def graph_input(self, name: str, type_: Type) -> ir.Value:
        """A new input of the graph."""
        value = ir.Value(name=name, type=ir.TensorType(DTYPES[type_.dtype]), shape=_shape(type_))
        self.graph_inputs.append(value)
        return value

    def graph_output(self, value: ir.Value, name: str, type_: Type) -> None:
        """Name an output of the graph; a value that has a name already gets an Identity."""
        if value in self.graph_outputs or value in self.graph_inputs or value.name in self.initializers:
            value = self("Identity", value)
        value.name, value.type, value.shape = name, ir.TensorType(DTYPES[type_.dtype]), _shape(type_)
        self.graph_outputs.append(value)

    # ---- lengths

    def dim(self, x: ir.Value, axis: int) -> ir.Value:
        """The length of an axis, ``int64[1]``."""
        return self("Shape", x, start=axis, end=axis + 1)

    def size(self, size: Size) -> ir.Value:
        """A symbolic length, ``int64[1]``."""
        if isinstance(size, int):
            return self.constant([size])
        total: ir.Value | None = self.constant([size.constant]) if size.constant else None
        for atom, factor in size.terms:
            part = self.symbols[atom] if isinstance(atom, str) else self._made(atom)
            part = part if factor == 1 else self("Mul", part, [factor])
            total = part if total is None else self("Add", total, part)
        if total is None:
            raise LoweringError("an empty length")
        return total

    def _made(self, atom: Division | Clipped) -> ir.Value:
        if isinstance(atom, Clipped):
            return self("Max", self.size(atom.of), [0])
        return self("Div", self("Add", self.size(atom.of), [atom.by - 1]), [atom.by])

    def shape(self, dims: Sequence[ir.Value | int]) -> ir.Value:
        """A shape operand from sizes, some of them known."""
        return self("Concat", *[dim if isinstance(dim, ir.Value) else [dim] for dim in dims], axis=0)

    def cast(self, x: ir.Value, to: DType) -> ir.Value:
        """Another dtype."""
        return self("Cast", x, to=int(DTYPES[to]))

    def state(self, node: Node) -> State | None:
        """The op's state where the graph carries states."""
        return node.states[0] if node.states and node.states[0].path in self.past else None


def _shape(type_: Type) -> ir.Shape:
    """A shape with its symbolic dims named."""
    return ir.Shape([str(dim).replace(" ", "") if isinstance(dim, Dim) else dim for dim in type_.dims])
