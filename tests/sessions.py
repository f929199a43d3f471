"""A module in ONNX Runtime, unproven, beside the session on the module itself."""

from pathlib import Path

from flexit.lower.onnx.model import emit_models, save
from flexit.lower.torch.module import FlexitModule
from flexit.runtime.sessions.ort_session import ModelFile, OrtSession
from flexit.runtime.sessions.torch_session import interface_of


def ort_session(module: FlexitModule, folder: Path, *, optimise: bool = False) -> OrtSession:
    """The module's models, written to ``folder`` and opened."""
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    emitted = emit_models(module.program, weights)
    files = [ModelFile(save(one, folder), tuple(state[1:] for state in one.states)) for one in emitted]
    return OrtSession(files, interface_of(module.program), optimise=optimise, threads=1)
