"""The numbers of the new model, worked out tensor by tensor when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexit.convert.tensors import LazyTensor
from flexit.files.safetensors import DTYPES
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.runtime.transfer.plan import Plan, Step
from flexit.runtime.transfer.vocabulary import meant
from flexit.runtime.transfer.widths import pooled, taken

Array = NDArray[Any]


class Values:
    """The tensors of a new model.

    What is drawn is drawn as the new spec's ``init`` says, each from the seed and its own name.
    """

    def __init__(
        self, plan: Plan, weights: Mapping[str, LazyTensor], *, spec: Spec, program: Program, seed: int, mean: bool
    ) -> None:
        """What it takes.

        Args:
            plan: what becomes of every tensor.
            weights: those of the old model.
            spec: that of the new model.
            program: of the new model.
            seed: of what is drawn.
            mean: whether rows of new tokens are means, not drawn.
        """
        self._plan, self._weights = plan, weights
        self._spec, self._program, self._seed, self._mean = spec, program, seed, mean
        formats = {tensor.dtype for tensor in weights.values()}
        self.dtype = formats.pop() if len(formats) == 1 else "F32"

    def tensors(self) -> dict[str, LazyTensor]:
        """Every tensor by name, in the number format of the old ones, if they have one."""
        return {
            step.path: LazyTensor(step.shape, self.dtype, partial(self._value, step)) for step in self._plan.steps
        }  # fmt: skip

    def _value(self, step: Step) -> Array:
        if step.what == "zeroed":
            return np.zeros(step.shape, DTYPES[self.dtype])
        if step.source is None:
            return self._drawn(step).astype(DTYPES[self.dtype])
        given = self._weights[step.source].numpy()
        if step.groups is None and step.indices is None:
            return given.astype(DTYPES[self.dtype])
        array = given.astype(np.float64 if given.dtype == np.float64 else np.float32)
        if step.groups is not None:
            array = pooled(array, groups_old=step.groups[0], groups_new=step.groups[1])
        if step.indices is not None:
            drawn = self._drawn(step) if step.draws else np.empty(step.shape, array.dtype)
            made = taken(array, drawn.astype(array.dtype), [*step.indices], matrix=step.matrix)
            array = meant(made, step.indices[0], array) if self._means(step) else made
        return array.astype(DTYPES[self.dtype])

    def _means(self, step: Step) -> bool:
        return self._mean and step.tokens and step.indices is not None and bool((step.indices[0] < 0).any())

    def _drawn(self, step: Step) -> Array:
        from flexit.lower.torch.initialise import initial_values

        values = initial_values(self._spec, self._program, seed=self._seed, only={step.path})
        return values[step.path].numpy()
