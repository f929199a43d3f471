"""``to_onnx``: a program as ONNX models on disk. Emission only; the proof is another matter."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from flexit.errors import UserError
from flexit.ir.analysis.limits import positions_taken
from flexit.ir.compile import States, compile_spec
from flexit.ir.dims import Dim
from flexit.ir.passes import cut
from flexit.ir.passes.inline import inline
from flexit.ir.program import Node, Program, State, Value
from flexit.ir.spec import Spec
from flexit.ir.types import Type
from flexit.ir.weights import require_fitting
from flexit.lower.onnx.emitter import Emitter
from flexit.lower.onnx.lowerings import emit
from flexit.lower.onnx.signature import state_names

OPSET = 18
IR_VERSION = 8
"""What onnxruntime 1.17 still reads."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """One ONNX model of a program.

    Attributes:
        file: its name in the folder.
        states: (IR path, input name, output name) of the states it carries; a static state of the encoder has no
            input, one of the decoder no output.
    """

    file: str
    model: ir.Model
    states: tuple[tuple[str, str | None, str | None], ...]


def to_onnx(
    spec: Spec, weights: Mapping[str, Any], out_dir: str | Path, *, target: Literal["portable"] = "portable",
    states: States = "full",
) -> list[Path]:  # fmt: skip
    """Write the ONNX models of a spec with their weights as external data. **Unproven**: see ``flexit.export``.

    Args:
        spec: the model.
        weights: parameters by path: arrays, or anything numpy reads one at a time.
        out_dir: an existing or new folder.
        target: ``portable``: opset-18 primitives only.
        states: what decoding keeps; ``compact`` is less per token and more work at each step, for the same result, in
            models that have such a form (latent attention).

    Returns:
        The model files.

    Raises:
        UserError: there is no such target, or the weights are not those of the spec; every parameter that differs is
            listed.
    """
    if target != "portable":
        raise UserError.of(
            "FX2004", "no such target", path="target", expected="portable", found=str(target), cure="leave target out"
        )
    program = compile_spec(spec, states=states)
    require_fitting({param.path: param.shape for param in program.params()}, weights)
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return [save(emitted, folder) for emitted in emit_models(program, weights)]


def save(emitted: Emitted, folder: Path) -> Path:
    """Write one model, weights streamed into ``<file>.data`` beside it."""
    path = folder / emitted.file
    ir.save(emitted.model, path, external_data=f"{emitted.file}.data", size_threshold_bytes=1024)
    return path


def emit_models(program: Program, weights: Mapping[str, Any]) -> list[Emitted]:
    """The models of a program: ``model.onnx``, or ``encoder.onnx`` and ``decoder.onnx`` where a part runs once."""
    names, passed = state_names(program.states), positions_taken(program)
    if not cut.has_static_states(program):
        return [_emitted("model.onnx", inline(program), weights, names=names, passed=passed)]
    parts = {"encoder.onnx": cut.encode(program), "decoder.onnx": cut.decode(program)}
    return [_emitted(file, part, weights, names=names, passed=passed) for file, part in parts.items()]


def emit_probe(
    program: Program, weights: Mapping[str, Any], *, passed: Container[str] = ()
) -> tuple[ir.Model, list[str]]:
    """A model without states whose outputs are the results of all blocks, and their paths in order.

    Args:
        program: the whole model.
        weights: parameters by path.
        passed: position ids that the model takes.
    """
    flat = replace(inline(program), decoded=None)
    made = {value: index for index, node in enumerate(flat.root.nodes) for value in node.outputs}
    marks = sorted((made[value], path) for path, value in flat.root.marks.items() if value in made)
    paths = [path for _, path in marks if path]
    outputs = {path: flat.root.marks[path] for path in paths}
    return _emitted("probe.onnx", flat, weights, names={}, outputs=outputs, passed=passed).model, paths


def _emitted(
    file: str, program: Program, weights: Mapping[str, Any], *, names: Mapping[str, tuple[str, str]],
    passed: Container[str], outputs: Mapping[str, Value] | None = None,
) -> Emitted:  # fmt: skip
    e = Emitter(weights)
    static = {entry.name for entry in program.inputs if entry.name in names}
    for entry in program.inputs:
        if entry.role == "document_ids" or (entry.role == "position_ids" and entry.name not in passed):
            continue
        name = names[entry.name][0] if entry.name in static else entry.name
        e.values[entry.value] = e.graph_input(name, entry.value.type)
    states = [state for state in program.states if state.path in names and state.rule != "static"]
    for state in states:
        e.past[state.path] = e.graph_input(names[state.path][0], state.type)
    _bind_symbols(e, program)
    for node in program.root.nodes:
        assert isinstance(node, Node)
        emit(node, e)
    e.prefix = ""
    for name, value in (outputs or program.outputs).items():
        public = names[name][1] if name in names else name
        e.graph_output(e.values[value], public, value.type)
    for state in states:
        e.graph_output(e.present[state.path], names[state.path][1], _grown(state, program))
    model = _model(program.name, e)
    carried = [(state.path, names[state.path][0], names[state.path][1]) for state in states]
    carried += [(path, names[path][0], None) for path in static]
    carried += [(name, None, names[name][1]) for name in program.outputs if name in names]
    return Emitted(file, model, tuple(carried))


def _bind_symbols(e: Emitter, program: Program) -> None:
    """Lengths, from the first graph input that has each as a plain dim."""
    e.prefix = "lengths"
    for entry in program.inputs:
        if entry.value not in e.values:
            continue
        for axis, dim in enumerate(entry.value.dims):
            if isinstance(dim, Dim) and dim.is_symbol and str(dim) not in e.symbols:
                e.symbols[str(dim)] = e.dim(e.values[entry.value], axis)


def _grown(state: State, program: Program) -> Type:
    """The type of a state after a step."""
    if state.axis is None or program.decoded is None:
        return state.type
    dims = list(state.type.dims)
    dims[state.axis] = dims[state.axis] + Dim(((program.decoded.seq, 1),))
    return state.type.with_dims(dims)


def _model(name: str, e: Emitter) -> ir.Model:
    graph = ir.Graph(
        e.graph_inputs, e.graph_outputs, nodes=e.nodes, initializers=list(e.initializers.values()),
        opset_imports={"": OPSET}, name=name,
    )  # fmt: skip
    model = ir.Model(graph, ir_version=IR_VERSION, producer_name="flexit")
    RemoveUnusedNodesPass()(model)
    for value in list(graph.inputs):
        if not value.uses() and value not in graph.outputs:
            graph.inputs.remove(value)
    return model
