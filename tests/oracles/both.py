"""Runs a few ops, written as an expand() would write them, on given arrays in both lowerings."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir
import onnxruntime
import torch

from flexit.ir.expansion.expander import Expander
from flexit.ir.program import Input, Program, Value
from flexit.ir.types import DType, Type
from flexit.lower.onnx.model import emit_models
from flexit.lower.torch.module import build, fill

Array = np.ndarray
DTYPES: dict[str, DType] = {"f": "f32", "i": "i64", "b": "bool"}


def program_of(write: Callable[..., Sequence[Value]], arrays: Mapping[str, Array]) -> Program:
    """The program of ``write(e, **values)``, whose inputs have the shapes and dtypes of ``arrays``."""
    e = Expander(tables={}, cached=False)
    values = {name: e.draft.input(name, Type(DTYPES[array.dtype.kind], array.shape)) for name, array in arrays.items()}
    results = tuple(write(e, **values))
    root = e.draft.seal(results)
    inputs = tuple(Input(name=name, value=value, group="", role="values") for name, value in values.items())
    outputs = {f"result{index}": value for index, value in enumerate(root.outputs)}
    return Program(name="ops", root=root, inputs=inputs, outputs=outputs, groups=(), decoded=None)


def run_both(
    write: Callable[..., Sequence[Value]], arrays: Mapping[str, Array], weights: Mapping[str, Array] | None = None
):
    """Results by backend."""
    program, weights = program_of(write, arrays), weights or {}
    module = build(program)
    fill(module, weights, dtype=torch.float32, device=torch.device("cpu"))
    with torch.no_grad():
        found = module.eval()(**{name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    (emitted,) = emit_models(program, weights)
    session = onnxruntime.InferenceSession(
        onnx_ir.to_proto(emitted.model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    used = {entry.name for entry in session.get_inputs()}
    return {
        "torch": [value.numpy() for value in found.values()],
        "onnx": list(
            session.run(list(program.outputs), {name: array for name, array in arrays.items() if name in used})
        ),
    }
