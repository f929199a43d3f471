"""A session on ONNX Runtime. The only file that imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from flexit.errors import BundleError, TaskError
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.interface import Interface
from flexit.runtime.sessions.session import Stepwise, lacks_memory, out_of_memory, position_ids

QUIET = 4
"""ONNX Runtime's level that logs nothing but what ends the process: an error's text is part of ours."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX model and the states it carries: (input name, output name), one of them None for static states."""

    path: Path
    states: tuple[tuple[str | None, str | None], ...]


class OrtSession(Stepwise):
    """Runs ``model.onnx``, or ``encoder.onnx`` once and ``decoder.onnx`` step by step.

    Args:
        files: the models.
        interface: what of the program a session needs.
        optimise: whether ONNX Runtime may rewrite the graph.
        threads: threads of one operator; 0 takes all cores.
        spin: whether idle threads wait busily, which answers sooner and takes the cores from everyone else.
    """

    def __init__(
        self, files: Sequence[ModelFile], interface: Interface, *, optimise: bool = True, threads: int = 0,
        spin: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(interface)
        options = ort.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
        self._models = [_loaded(file, options) for file in files]
        self._files = list(files)
        missing = set(interface.outputs) - {entry.name for entry in self._decoder.get_outputs()}
        if missing:
            raise _unusable(files[-1], "the outputs that the manifest names", f"no {min(missing)}")
        self._past: dict[str, Array] = {}
        self._fixed: dict[str, Array] = {}

    @property
    def _decoder(self) -> Any:
        return self._models[-1]

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        full = self.interface.complete(inputs)
        self.interface.require_counted(full, taken={e.name for model in self._models for e in model.get_inputs()})
        outputs = self._call({**full, **self._computed_once(full), **self._empty(full)})
        return {name: outputs[name] for name in self.interface.outputs}

    def _begin(self, full: Mapping[str, Array]) -> None:
        decoded = {entry.name for entry in self.interface.of_decoded}
        once = self._computed_once(full)
        self._fixed = {**once, **{name: array for name, array in full.items() if name not in decoded}}
        self._past = self._empty(full)

    def _read(self, own: Mapping[str, Array]) -> Array:
        outputs = self._call({**self._fixed, **own, **self._past})
        self._past = {past: outputs[new] for past, new in self._files[-1].states if past and new}
        return outputs["logits"]

    def _keep(self, rows: Array) -> None:
        self._past = {name: value[rows] for name, value in self._past.items()}
        self._fixed = {name: value[rows] for name, value in self._fixed.items()}

    def _computed_once(self, full: Mapping[str, Array]) -> dict[str, Array]:
        """What the encoder gives, where there is one."""
        if len(self._models) == 1:
            return {}
        encoder = self._models[0]
        return dict(zip([output.name for output in encoder.get_outputs()], _ran(encoder, full), strict=True))

    def _empty(self, full: Mapping[str, Array]) -> dict[str, Array]:
        """States before the first token."""
        batch = next(iter(full.values())).shape[0]
        carried = {name for name, present in self._files[-1].states if name and present}
        return {
            entry.name: np.zeros(
                [_length(dim, axis, batch) for axis, dim in enumerate(entry.shape)],
                np.int64 if entry.type == "tensor(int64)" else np.float32,
            )
            for entry in self._decoder.get_inputs()
            if entry.name in carried
        }

    def _call(self, given: Mapping[str, Array]) -> dict[str, Array]:
        feeds = dict(given)
        for entry in self.interface.inputs:
            if entry.role == "position_ids" and entry.group == self.interface.decoded and entry.name not in feeds:
                ids, mask = self.interface.require_decoded()
                feeds[entry.name] = position_ids(feeds[mask.name], feeds[ids.name].shape[1])
        names = [output.name for output in self._decoder.get_outputs()]
        return dict(zip(names, _ran(self._decoder, feeds), strict=True))


def _quietly() -> Any:
    options = ort.RunOptions()
    options.log_severity_level = QUIET
    return options


def _loaded(file: ModelFile, options: Any) -> Any:
    """A model with the states that were said of it.

    Raises:
        BundleError: FX1404, ONNX Runtime refuses it, or the states are not its own.
    """
    try:
        model = ort.InferenceSession(str(file.path), options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # the library's errors derive from nothing narrower
        raise _unusable(file, "a model that ONNX Runtime takes", str(error)) from error
    own = {entry.name for entry in (*model.get_inputs(), *model.get_outputs())}
    strange = [name for state in file.states for name in state if name is not None and name not in own]
    if strange:
        raise _unusable(file, "the states that the manifest names", f"no {strange[0]}")
    return model


def _unusable(file: ModelFile, expected: str, found: str) -> BundleError:
    return BundleError.of(
        "FX1404", f"{file.path}: a model cannot be used", expected=expected, found=found,
        cure="export the bundle again, or copy it anew",
    )  # fmt: skip


def _ran(model: Any, feeds: Mapping[str, Array]) -> list[Array]:
    """The results of a model on those of ``feeds`` that it takes.

    Raises:
        TaskError: FX2001, ONNX Runtime refuses them.
        ResourceError: FX1703, there is not enough memory.
    """
    own = {each.name: feeds[each.name] for each in model.get_inputs() if each.name in feeds}
    try:
        return model.run(None, own, _quietly())
    except Exception as error:  # the library's errors derive from nothing narrower
        if lacks_memory(error):
            raise out_of_memory(error) from error
        raise TaskError.of(
            "FX2001", "ONNX Runtime refuses these inputs", expected="inputs that the model can be run on",
            found=str(error), cure="compare shapes and ids with the inputs of the model",
        ) from error  # fmt: skip


def _length(dim: int | str, axis: int, batch: int) -> int:
    if isinstance(dim, int):
        return dim
    return batch if axis == 0 else 0
