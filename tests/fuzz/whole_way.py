"""A spec the whole way: forward and backward, cost, export with proof, verification, and generation with a cache where
the model has one. What is computed, and in how many numbers, is compared in two ways at every step.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from flexit.errors import ProofError
from flexit.ir.analysis.cost import cost, position_limit
from flexit.ir.analysis.limits import limits_of
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.bundles.verify import verify
from flexit.runtime.generation.generate import generate
from flexit.runtime.proof.grid import Case, inputs_for
from flexit.runtime.proof.stress import stress_weights
from flexit.runtime.sessions.session import Array
from flexit.runtime.sessions.torch_session import TorchSession

OPEN = {
    "too close to call": "a choice is too close to call",
    "amplifies rounding": "the model amplifies rounding",
    "nothing of it was compared": "an output has no positions, however long its inputs are",
}
"""What a refused proof may say without that anything is wrong: the numbers do not decide."""
SMALL = 1e-3
"""A difference up to this may be that of two libraries' functions where they almost vanish, as the logistic one of ONNX
Runtime is 1.7e-4 off at -8.5 and PyTorch's is not; then it is gone with other inputs.
"""


class Wrong(Exception):
    """Two ways to one result differ."""


@dataclass(frozen=True)
class Outcome:
    """How a spec fared.

    Attributes:
        word: ``proven``, ``generated`` (proven, and both sessions continue tokens alike) or ``inconclusive``.
        why: what an inconclusive one leaves open.
    """

    word: str
    why: str = ""


def whole_way(spec: Spec, folder: Path) -> Outcome:
    """Take a spec the whole way, under stress weights.

    Raises:
        Wrong: two results that should be one differ.
        Exception: whatever flexit raises; nothing may.
    """
    module = to_torch(spec, stress_weights(to_torch(spec).program))
    require(
        sum(value.numel() for value in module.parameters()) == cost(spec, batch=2).parameters,
        "parameters are miscounted",
    )
    if not trains(module.train()):
        # products without norms, under stress weights, go beyond any float; under small weights nothing does
        small = to_torch(spec, {name: 0.05 * value for name, value in module.named_parameters()})
        require(trains(small.train()), "not finite under small weights")
        return Outcome("inconclusive", "beyond any float under stress weights")
    module.eval()
    why = proven(module, folder)
    if why:
        return Outcome("inconclusive", why)
    require(verify(folder).holds, "the bundle does not verify")
    return decodes(module, folder)


def proven(module: FlexitModule, folder: Path) -> str:
    """Export; what a refused proof leaves open, if it is no more than that.

    Raises:
        Wrong: the backends differ.
    """
    try:
        export(module, folder)
    except ProofError as error:
        why = next((why for said, why in OPEN.items() if said in str(error)), None)
        if why is None and not (differs_by(error) < SMALL and all(agrees(module, folder, seed) for seed in (1, 2))):
            raise Wrong(str(error)) from error
        return why or "a small difference, in one proof of three"
    return ""


def differs_by(error: ProofError) -> float:
    """How much a proof says that the backends differ by."""
    found = re.search(r"differs from PyTorch by ([0-9.e+-]+),", str(error))
    return float(found[1]) if found else math.inf


def agrees(module: FlexitModule, folder: Path, seed: int) -> bool:
    """Whether the proof holds with other inputs."""
    try:
        export(module, folder.with_name(f"{folder.name}-{seed}"), seed=seed)
    except ProofError:
        return False
    return True


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


def trains(module: FlexitModule) -> bool:
    """Whether outputs and gradients of a training step are finite; some parameter gets a gradient in any case."""
    case = Case(2, min(4, position_limit(module.program) or 4), 0)
    outputs = module(**tensors(inputs_for(module.program, case, np.random.default_rng(7))))
    found = list(outputs.values())
    parameters = list(module.parameters())
    if parameters:
        # not of squares: a maximum over no positions is a very low number
        torch.stack([value.abs().mean() for value in outputs.values()]).sum().backward()
        found += [one.grad for one in parameters if one.grad is not None]
        require(len(found) > len(outputs), "no parameter gets a gradient")
    return all(bool(torch.isfinite(value).all()) for value in found)


def continues(program: Program) -> bool:
    """Whether a session can be asked to continue tokens, and looks up those that it finds."""
    decoded = program.decoded
    mine = [] if decoded is None else [entry for entry in program.inputs if entry.group == decoded.name]
    fed = [entry for entry in mine if entry.role in ("ids", "values")]
    if [entry.role for entry in fed] != ["ids"] or "logits" not in program.outputs:
        return False
    if (position_limit(program) or 8) < 8:
        return False
    rows = limits_of(program).ids.get(fed[0].name, 2)
    return rows >= 2 and program.outputs["logits"].dims[-1] <= rows


def decodes(module: FlexitModule, folder: Path) -> Outcome:
    """Greedy tokens of both backends."""
    program = module.program
    if program.decoded is None or not continues(program):
        return Outcome("proven")
    inputs = inputs_for(program, Case(2, 3, 0), np.random.default_rng(1))
    others = {
        entry.name: inputs[entry.name]
        for entry in program.inputs
        if entry.role == "vector" or (entry.group != program.decoded.name and not entry.optional)
    }
    sessions = (TorchSession(module), open_bundle(folder))
    texts = [generate(session, [[0, 1], [1]], max_new_tokens=4, others=others) for session in sessions]
    require(texts[0] == texts[1], f"PyTorch generates {texts[0]}, ONNX Runtime {texts[1]}")
    return Outcome("generated")


def tensors(arrays: dict[str, Array]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
