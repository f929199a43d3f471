"""A session on the PyTorch module: the reference that proofs compare with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from flexit.errors import TaskError
from flexit.ir.analysis.dependence import revises
from flexit.ir.analysis.limits import limits_of
from flexit.ir.misfits import unusable
from flexit.ir.passes import cut
from flexit.ir.program import Input, Program
from flexit.lower.torch.module import FlexitModule, build
from flexit.runtime.modes import evaluating
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.interface import Entry, Interface
from flexit.runtime.sessions.session import Stepwise, lacks_memory, out_of_memory


def interface_of(program: Program) -> Interface:
    """What of a program a session needs."""
    limits = limits_of(program)
    entries = [
        Entry(
            name=entry.name,
            group=entry.group,
            role=entry.role,
            limit={**limits.ids, **limits.positions}.get(entry.name),
            slots=limits.slots.get(entry.name),
            tokens=limits.tokens.get(entry.name),
            width=_width(entry) if entry.role in ("values", "vector") else None,
        )
        for entry in program.inputs
        if entry.role != "document_ids"  # packed rows are for training
    ]
    return Interface(
        inputs=tuple(entries),
        outputs=tuple(program.outputs),
        decoded=None if program.decoded is None else program.decoded.name,
        why_not=program.why_not_decoded,
        in_pieces=not revises(program) and not any(entry.role == "prefix_lengths" for entry in program.inputs),
    )


def _width(entry: Input) -> int | None:
    width = entry.value.dims[-1]
    return width if isinstance(width, int) else None


class TorchSession(Stepwise):
    """Runs a module in inference mode; an encoder-decoder is cut at its static states, so the encoder runs once."""

    def __init__(self, module: FlexitModule) -> None:
        if not isinstance(cast("object", module), FlexitModule):
            raise unusable(
                "module", module, expected="a module of flexit.to_torch",
                cure="build it: flexit.to_torch(flexit.load_spec(path)); of a bundle: flexit.open_bundle(folder)",
            )  # fmt: skip
        super().__init__(interface_of(module.program))
        self.module = module
        self._encoder: FlexitModule | None = None
        self._decoder = module
        if cut.has_static_states(module.program):
            self._encoder = sharing(module, cut.encode(module.program))
            self._decoder = sharing(module, cut.decode(module.program))
        self._cache: Sequence[Tensor] = ()
        self._fixed: dict[str, Tensor] = {}

    @property
    def _reference(self) -> Tensor:
        """A tensor of the module's dtype, on its device; a module may have no parameters."""
        return next(self.module.parameters(), torch.empty(0))

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        full = self.interface.complete(inputs)
        with _inference(self.module):
            outputs = self.module(**self._tensors(full))
        return {name: value.detach().float().cpu().numpy() for name, value in outputs.items()}

    def _begin(self, full: Mapping[str, Array]) -> None:
        tensors = self._tensors(full)
        self._fixed = {}
        if self._encoder is not None:
            names = {entry.name for entry in self._encoder.program.inputs}
            with _inference(self._encoder):
                self._fixed = dict(self._encoder(**{n: t for n, t in tensors.items() if n in names}))
        mine = {entry.name for entry in self._decoder.program.inputs}
        decoded = {entry.name for entry in self.interface.of_decoded}
        self._fixed |= {n: t for n, t in tensors.items() if n in mine and n not in decoded}
        self._cache = self._decoder.empty_cache(next(iter(full.values())).shape[0])

    def _read(self, own: Mapping[str, Array]) -> Array:
        taken = {entry.name for entry in self._decoder.program.inputs}
        with _inference(self._decoder):
            given = {name: value for name, value in {**self._tensors(own), **self._fixed}.items() if name in taken}
            outputs = self._decoder(cache=self._cache, **given)
        self._cache = outputs["cache"]
        return outputs["logits"].float().cpu().numpy()

    def _keep(self, rows: Array) -> None:
        index = torch.from_numpy(rows).to(self._reference.device)
        self._cache = [state.index_select(0, index) for state in self._cache]
        self._fixed = {name: value.index_select(0, index) for name, value in self._fixed.items()}

    def _tensors(self, arrays: Mapping[str, Array]) -> dict[str, Tensor]:
        like = self._reference
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)).to(like.device) for name, a in arrays.items()}
        return {name: value.to(like.dtype) if value.is_floating_point() else value for name, value in tensors.items()}


def sharing(module: FlexitModule, program: Program) -> FlexitModule:
    """The module of another program (one side of a cut, a probe, other states) on the same parameters."""
    part = build(program)
    if "spec" in vars(module):  # a probe has none
        part.spec = module.spec
    for name, _ in list(part.named_parameters()):
        owner, _, last = name.rpartition(".")
        part.get_submodule(owner).register_parameter(last, module.get_parameter(name))
    return part.eval().to(next(module.parameters()).device)


@contextmanager
def _inference(module: FlexitModule) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards the mode that it was in.

    Raises:
        TaskError: FX2001, an id or a position lies beyond its table.
    """
    with evaluating(module), torch.inference_mode(), within_tables():
        yield


@contextmanager
def within_tables() -> Iterator[None]:
    """Around a run of a module: what PyTorch says of rows that a table does not have, as an error of the user's.

    Raises:
        TaskError: FX2001, an id or a position lies beyond its table.
        ResourceError: FX1703, there is not enough memory.
    """
    try:
        yield
    except (IndexError, RuntimeError) as error:
        if lacks_memory(error):
            raise out_of_memory(error) from error
        if not isinstance(error, IndexError) and "out of bounds" not in str(error):  # which is how gather says it
            raise
        raise TaskError.of(
            "FX2001", "the model cannot be run on these inputs", expected="ids and positions that its tables have",
            found=str(error), cure="compare the tokenizer with the model, or make the text shorter",
        ) from error  # fmt: skip
