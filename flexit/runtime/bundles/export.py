"""``export``: emission plus proof. A bundle is written only when both backends agree."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch

import flexit
from flexit.convert.pretrained import Pretrained, from_pretrained
from flexit.convert.sources.source import is_source
from flexit.errors import UserError
from flexit.files.folder import require_replaceable, writing
from flexit.ir.analysis.cost import cost
from flexit.ir.compile import States, compile_spec
from flexit.ir.io.places import CARRIED
from flexit.ir.language.layers import as_written
from flexit.ir.misfits import unusable
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.lower.onnx.model import Emitted, emit_models, save
from flexit.lower.torch.arguments import natural
from flexit.lower.torch.memory import require_memory
from flexit.lower.torch.module import FlexitModule, build, fill, to_torch
from flexit.runtime.adapters.lora import adapter_in
from flexit.runtime.adapters.modules import merge_lora
from flexit.runtime.bundles.bundle import Bundle, read_bundle, sha256
from flexit.runtime.bundles.carrying import carriable, require_fitting
from flexit.runtime.bundles.manifest import FORMAT, MANIFEST
from flexit.runtime.modes import evaluating
from flexit.runtime.proof.compare import validity
from flexit.runtime.proof.grid import Case
from flexit.runtime.proof.margins import margins_of
from flexit.runtime.proof.prove import Evidence, Progress, Subject, agreed, prove
from flexit.runtime.proof.stress import stress_weights
from flexit.runtime.saved import read_spec, read_weights
from flexit.runtime.sessions.ort_session import ModelFile, OrtSession
from flexit.runtime.sessions.session import Array
from flexit.runtime.sessions.torch_session import TorchSession, interface_of, sharing
from flexit.runtime.train.saving.checkpoint import require_whole

CURE = "export a smaller model"


def export(
    model: FlexitModule | Pretrained | str | Path, out_dir: str | Path, *, force: bool = False, seed: int = 0,
    progress: Progress | None = None, allow_memory: bool = False, carry: Sequence[str | Path] = (),
    states: States | None = None,
) -> Bundle:  # fmt: skip
    """Emit a model as ONNX, prove it against PyTorch, and write both as a bundle.

    Args:
        model: a module (of one with branches of LoRA the merged one), a checkpoint folder, or another library's
            checkpoint as :func:`flexit.from_pretrained` takes it or gives it.
        out_dir: where the bundle goes.
        force: replace a bundle that is there.
        seed: of the proof's inputs and stress weights.
        progress: called with what is being done.
        allow_memory: start although the predicted memory is not there.
        carry: files called as in ``CARRIED`` that go into the bundle, before those of a checkpoint.
        states: what decoding keeps, ``full`` or ``compact`` (see :func:`flexit.to_torch`); by default what the module
            has, and ``full`` of a checkpoint.

    Raises:
        ProofError: the backends differ; nothing is written.
        UserError: the folder may not be written, or the checkpoint cannot be read.
        ResourceError: FX1703, the predicted memory is not there.
    """
    seed = natural(seed)
    if not isinstance(cast("object", model), FlexitModule | Pretrained | str | PathLike):
        raise unusable(
            "model", model, expected="a module of flexit.to_torch, the folder of a checkpoint, or a model that "
            "flexit.from_pretrained gives",
            cure="build it: flexit.to_torch(spec, seed=0)" if isinstance(model, Spec) else "give one of these",
        )  # fmt: skip
    given = carriable(carry)
    require_replaceable(out_dir, marker=MANIFEST, force=force)
    no_files: dict[str, Path | bytes] = {}
    if isinstance(model, FlexitModule):
        model = model if adapter_in(model) is None else merge_lora(model)
        module, carried = _in_fp32(model if states is None else _with_states(model, states)), no_files
        needed = cost(module.program).export_peak - sum(value.nbytes for value in module.parameters())
        require_memory(needed, what="exporting", cure=CURE, allow=allow_memory)
    elif isinstance(model, Pretrained) or is_source(os.fspath(model)):
        pretrained = model if isinstance(model, Pretrained) else from_pretrained(model)
        module, carried = _of_pretrained(pretrained, states or "full", allow_memory=allow_memory)
    else:
        module, carried = _from_checkpoint(Path(model), states or "full", allow_memory=allow_memory)
    require_fitting(given, module.program, interface_of(module.program))
    carried |= given
    with writing(out_dir, marker=MANIFEST, force=force) as folder:
        written = _Written.of(module, folder)
        evidence = _proved(written, seed=seed, progress=progress)
        (folder / "spec.json").write_text(json.dumps(as_written(module.spec), indent=1), encoding="utf-8")
        for name, source in carried.items():
            (folder / name).write_bytes(source.read_bytes() if isinstance(source, Path) else source)
        _write_probe(written, seed=seed)
        _write_manifest(written, evidence)
    return read_bundle(out_dir)


def _in_fp32(module: FlexitModule) -> FlexitModule:
    """The module, or one in fp32 with the same weights: bundles are fp32, and are compared with that."""
    if all(value.dtype == torch.float32 for value in module.parameters()):
        return module
    made = build(module.program)
    made.spec = module.spec
    fill(made, dict(module.named_parameters()), dtype=torch.float32, device=torch.device("cpu"))
    return made


def _with_states(module: FlexitModule, states: States) -> FlexitModule:
    """The module with states of that form, on the same parameters."""
    return sharing(module, compile_spec(module.spec, states=states))


def _from_checkpoint(
    folder: Path, states: States, *, allow_memory: bool
) -> tuple[FlexitModule, dict[str, Path | bytes]]:
    spec = read_spec(folder)
    require_whole(folder)
    require_memory(cost(spec, states=states).export_peak, what="exporting", cure=CURE, allow=allow_memory)
    carried: dict[str, Path | bytes] = {name: folder / name for name in CARRIED if (folder / name).is_file()}
    return _in_fp32(to_torch(spec, read_weights(folder), allow_memory=True, states=states)), carried


def _of_pretrained(
    model: Pretrained, states: States, *, allow_memory: bool
) -> tuple[FlexitModule, dict[str, Path | bytes]]:
    require_memory(cost(model.spec, states=states).export_peak, what="exporting", cure=CURE, allow=allow_memory)
    return _in_fp32(to_torch(model.spec, model.weights, allow_memory=True, states=states)), dict(model.files)


@dataclass(frozen=True, slots=True)
class _Written:
    """A module, its parameters as arrays, and the ONNX models of both in a folder."""

    module: FlexitModule
    weights: Mapping[str, Array]
    folder: Path
    emitted: Sequence[Emitted]

    @classmethod
    def of(cls, module: FlexitModule, folder: Path) -> _Written:
        """Emit the models of a module into a folder; arrays are on the module's memory where they can be."""
        weights = {name: value.detach().float().cpu().numpy() for name, value in module.named_parameters()}
        bad = [name for name, array in weights.items() if not np.isfinite(array).all()]
        if bad:
            raise UserError.of(
                "FX2005", "weights are not finite", path=bad[0], expected="numbers",
                found=f"NaN or infinity in {len(bad)} of {len(weights)} arrays",
                cure="export a checkpoint from before the training diverged",
            )  # fmt: skip
        emitted = emit_models(module.program, weights)
        for one in emitted:
            save(one, folder)
        return cls(module, weights, folder, emitted)

    def subject(self, name: str) -> Subject:
        """What the proof runs."""
        files = [
            ModelFile(self.folder / one.file, tuple((past, new) for _, past, new in one.states)) for one in self.emitted
        ]
        interface = interface_of(self.module.program)
        return Subject(
            name=name, weights=self.weights, reference=TorchSession(self.module), margins=margins_of(self.module),
            session=lambda optimise: OrtSession(files, interface, optimise=optimise, spin=False),
        )  # fmt: skip


def _proved(given: _Written, *, seed: int, progress: Progress | None) -> Evidence:
    """Evidence on the given and on stress weights, which are made when the given ones are done with."""
    module = given.module

    def subjects() -> Iterator[Subject]:
        yield given.subject("given")
        stressed = build(module.program)
        stressed.eval().spec = module.spec
        fill(stressed, stress_weights(module.program, seed=seed), dtype=torch.float32, device=torch.device("cpu"))
        with TemporaryDirectory(prefix="flexit-proof-", ignore_cleanup_errors=True) as folder:
            yield _Written.of(stressed, Path(folder)).subject("stress")

    with evaluating(module):
        return prove(module.program, subjects(), seed=seed, progress=progress)


def _write_probe(written: _Written, *, seed: int) -> None:
    """Inputs on which both agree and the reference's outputs, replayed by ``flexit verify`` where the bundle will run.

    Raises:
        ProofError: they do not agree on these.
    """
    from safetensors.numpy import save_file

    module = written.module
    with evaluating(module):
        inputs = agreed(module.program, written.subject("given"), Case(2, 4, 0), seed=seed)
    outputs = TorchSession(module).run(inputs)
    arrays = {f"input.{name}": np.ascontiguousarray(array) for name, array in inputs.items()}
    arrays |= {f"output.{name}": np.ascontiguousarray(array) for name, array in outputs.items()}
    kept = {name: validity(module.program, name, inputs) for name in outputs}
    arrays |= {f"valid.{name}": np.ascontiguousarray(valid) for name, valid in kept.items() if valid is not None}
    save_file(arrays, written.folder / "probe.safetensors")


def _write_manifest(written: _Written, evidence: Evidence) -> None:
    program, folder = written.module.program, written.folder
    for one in written.emitted:
        onnx.checker.check_model(str(folder / one.file), full_check=True)
    names = sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
    manifest: dict[str, Any] = {
        "flexit": flexit.__version__,
        "format": FORMAT,
        "name": program.name,
        "target": "portable",
        "versions": {"torch": torch.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        "interface": _interface_data(program),
        "models": {
            one.file: {"states": [{"path": path, "input": past, "output": new} for path, past, new in one.states]}
            for one in written.emitted
        },
        "evidence": {**asdict(evidence), "error": evidence.error},
        "files": {name: sha256(folder / name) for name in names},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _interface_data(program: Program) -> dict[str, Any]:
    interface = interface_of(program)
    return {
        "inputs": [asdict(entry) for entry in interface.inputs], "outputs": list(interface.outputs),
        "decoded": interface.decoded, "why_not": interface.why_not, "in_pieces": interface.in_pieces,
    }  # fmt: skip
