"""Where two backends begin to differ: the results of all blocks in both, in the order they are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from flexit.ir.passes.inline import inline
from flexit.ir.program import Program
from flexit.lower.onnx.model import Emitted, emit_probe, save
from flexit.lower.torch.module import build, fill
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.interface import Interface
from flexit.runtime.sessions.ort_session import ModelFile, OrtSession
from flexit.runtime.sessions.session import Array
from flexit.runtime.sessions.torch_session import TorchSession, interface_of


@dataclass(frozen=True, slots=True)
class Difference:
    """The first block whose result differs, and by how much."""

    path: str
    error: float


def first_difference(
    program: Program, weights: Mapping[str, Array], inputs: Mapping[str, Array], *, tolerance: float
) -> Difference | None:
    """The innermost block that is the first to exceed the tolerance on these inputs, run without a cache."""
    flat = inline(program)
    model, paths = emit_probe(program, weights, passed=inputs)
    probed = replace(flat, outputs={path: flat.root.marks[path] for path in paths}, decoded=None)
    probed = replace(probed, root=replace(probed.root, outputs=tuple(probed.outputs.values()), side={}))
    module = build(probed)
    fill(module, {n: weights[n] for n, _ in module.named_parameters()}, dtype=torch.float32, device=torch.device("cpu"))
    expected = TorchSession(module).run(inputs)
    with TemporaryDirectory() as folder:
        path = save(Emitted("probe.onnx", model, ()), Path(folder))
        session = OrtSession([ModelFile(path, ())], _plain(interface_of(probed)), optimise=False)
        found = session.run(inputs)
    worst = {path: _error(found[path], expected[path], inputs) for path in paths}
    wrong = [path for path in paths if worst[path] > tolerance]
    if not wrong:
        return None
    first = wrong[0]
    inner = [path for path in wrong if path.startswith(f"{first}.")]
    chosen = inner[0] if inner else first
    return Difference(chosen, worst[chosen])


def _plain(interface: Interface) -> Interface:
    return replace(interface, decoded=None)


def _error(found: Array, expected: Array, inputs: Mapping[str, Array]) -> float:
    """Error over the positions that some mask of that length says are no padding."""
    masks = [array for name, array in inputs.items() if name.endswith("attention_mask")]
    fits = [mask for mask in masks if expected.ndim == 3 and mask.shape == expected.shape[:2]]
    valid = np.logical_and.reduce([mask != 0 for mask in fits]) if fits else None
    return relative_error(found, expected, valid)
