"""Where two backends begin to differ: the results of all blocks in both, in the order they are computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from flexit.ir.passes.inline import inline
from flexit.ir.program import Program
from flexit.lower.onnx.model import Emitted, emit_probe, save
from flexit.runtime.proof.compare import errors_by_row, relative_error, validity
from flexit.runtime.proof.rounding import exactly, roughly
from flexit.runtime.sessions.interface import Interface
from flexit.runtime.sessions.ort_session import ModelFile, OrtSession
from flexit.runtime.sessions.session import Array
from flexit.runtime.sessions.torch_session import interface_of


@dataclass(frozen=True, slots=True)
class Difference:
    """The first block whose result differs.

    Attributes:
        path: of the block.
        error: between the backends, relative.
        rounding: what rounding alone makes of it, relative: large where the model amplifies rounding.
    """

    path: str
    error: float
    rounding: float


def first_difference(
    program: Program, weights: Mapping[str, Array], inputs: Mapping[str, Array], *, rows: Array, tolerance: float
) -> Difference | None:
    """The innermost block that is the first to exceed the tolerance on these inputs, run without a cache.

    Args:
        program: the whole model.
        weights: parameters by path.
        inputs: of one case.
        rows: ``bool[batch]``, those that are looked at.
        tolerance: relative, as in :func:`~flexit.runtime.proof.compare.errors_by_row`.
    """
    flat = inline(program)
    model, paths = emit_probe(program, weights, passed=inputs)
    probed = replace(flat, outputs={path: flat.root.marks[path] for path in paths}, decoded=None)
    probed = replace(probed, root=replace(probed.root, outputs=tuple(probed.outputs.values()), side={}))
    first_reference, *others = roughly(probed, weights)
    expected = first_reference.run(inputs)
    with TemporaryDirectory() as folder:
        path = save(Emitted("probe.onnx", model, ()), Path(folder))
        session = OrtSession([ModelFile(path, ())], _plain(interface_of(probed)), optimise=False)
        found = session.run(inputs)
    check = _Check(probed, inputs, rows)
    worst = {path: check.error(path, found, expected) for path in paths}
    wrong = [path for path in paths if worst[path] > tolerance]
    if not wrong:
        return None
    first = wrong[0]
    inner = [path for path in wrong if path.startswith(f"{first}.")]
    chosen = inner[0] if inner else first
    exact = exactly(probed, weights).run(inputs)
    near = [expected, *(other.run(inputs) for other in others)]
    return Difference(chosen, worst[chosen], max(check.error(chosen, one, exact) for one in near))


def _plain(interface: Interface) -> Interface:
    return replace(interface, decoded=None)


@dataclass(frozen=True, slots=True)
class _Check:
    program: Program
    inputs: Mapping[str, Array]
    rows: Array

    def error(self, path: str, found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
        """The largest error of a row; of all together where a result is one for all rows, such as a score bias."""
        if len(expected[path]) != len(self.rows):
            return relative_error(found[path], expected[path])
        errors = errors_by_row(found[path], expected[path], validity(self.program, path, self.inputs))
        return float(errors[self.rows].max(initial=0.0))
