"""How far rounding alone can take a model's results: the reference in single precision, and in double precision with
every result of an operation moved by less than single precision tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flexit.ir.program import Program
from flexit.lower.torch.module import FlexitModule, build, fill
from flexit.runtime.proof.compare import cached, errors_by_row, whole
from flexit.runtime.proof.grid import Case
from flexit.runtime.sessions.session import Array
from flexit.runtime.sessions.torch_session import TorchSession

DRAWS = 3
"""Times that results are moved: one comparison alone may be right by luck."""
STEP = 2.0**-24
"""Half the distance of two numbers of single precision, relative."""


def exactly(program: Program, weights: Mapping[str, Array]) -> TorchSession:
    """The reference in double precision."""
    return TorchSession(_module(program, weights, torch.float64))


def roughly(program: Program, weights: Mapping[str, Array], *, draws: int = DRAWS) -> Iterator[TorchSession]:
    """References that rounding alone tells from the exact one, the first in single precision."""
    yield TorchSession(_module(program, weights, torch.float32))
    for seed in range(draws):
        yield _Moved(_module(program, weights, torch.float64), seed)


def rounding(
    program: Program, weights: Mapping[str, Array], inputs: Mapping[str, Array], *, case: Case | None
) -> Array:  # fmt: skip
    """The largest relative difference that rounding makes in the outputs of a row, as errors are measured in a proof.

    Args:
        program: the whole model.
        weights: parameters by path.
        inputs: of one case.
        case: how many of the tokens are read before, where it is decoded with a cache; None: run whole.

    Returns:
        ``float[batch]``.
    """
    return np.max(list(moves(program, weights, inputs, case=case)), axis=0)


def moves(
    program: Program, weights: Mapping[str, Array], inputs: Mapping[str, Array], *, case: Case | None,
    draws: int = DRAWS,
) -> Iterator[Array]:  # fmt: skip
    """What :func:`rounding` is the largest of, one by one: they differ by orders of magnitude where a model amplifies.

    Args:
        program: the whole model.
        weights: parameters by path.
        inputs: of one case.
        case: as for :func:`rounding`.
        draws: times that results are moved, after the comparison in single precision.

    Yields:
        ``float[batch]``.
    """
    reference = exactly(program, weights)
    expected = reference.run(inputs)
    for session in roughly(program, weights, draws=draws):
        if case is None:
            yield whole(program, inputs, found=session.run(inputs), expected=expected)[0]
        else:
            sides = (session, reference)
            decoded = cached(program, sides, inputs, case=case, whole=expected["logits"])
            yield errors_by_row(decoded.found, decoded.expected, decoded.unpadded)


class _Moved(TorchSession):
    """A session that moves every result of an operation by a little."""

    def __init__(self, module: FlexitModule, seed: int) -> None:
        super().__init__(module)
        self._seed = seed

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        with _Moving(self._seed):
            return super().run(inputs)

    def _begin(self, full: Mapping[str, Array]) -> None:
        with _Moving(self._seed):
            super()._begin(full)

    def _read(self, own: Mapping[str, Array]) -> Array:
        with _Moving(self._seed):
            return super()._read(own)


class _Moving(TorchDispatchMode):
    """Multiplies what operations give by 1 plus or minus at most :data:`STEP`, as random rounding (Parker 1997)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, *given: Any) -> Any:
        _, args, kwargs = given
        result = func(*args, **(kwargs or {}))
        fresh = isinstance(result, Tensor) and not func.is_view and not any(result is each for each in args)
        if fresh and result.is_floating_point():
            noise = torch.rand(result.shape, dtype=result.dtype, generator=self._chance)
            return result * (1.0 + STEP * (2.0 * noise - 1.0))
        return result


def _module(program: Program, weights: Mapping[str, Array], dtype: torch.dtype) -> FlexitModule:
    module = build(program)
    own = {name: weights[name] for name, _ in module.named_parameters()}
    fill(module, own, dtype=dtype, device=torch.device("cpu"))
    return module.eval()
