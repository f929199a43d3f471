"""Models on stress weights of another seed than a proof draws, so that an export of them proves two sets of weights."""

import torch

from flexit.ir.compile import States, compile_spec
from flexit.ir.spec import Spec
from flexit.lower.torch.module import FlexitModule, build, fill
from flexit.runtime.proof.stress import stress_weights

SEED = 1
"""Exports draw their own stress weights with 0."""


def stressed(
    spec: Spec, *, states: States = "full", dtype: torch.dtype = torch.float32, seed: int = SEED
) -> FlexitModule:  # fmt: skip
    """The module of a spec on stress weights, in evaluation mode."""
    program = compile_spec(spec, states=states)
    module = build(program)
    module.spec = spec
    fill(module, stress_weights(program, seed=seed), dtype=dtype, device=torch.device("cpu"))
    return module.eval()
