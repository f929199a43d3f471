"""A session on what a MODEL argument names, without PyTorch where it is a bundle."""

from __future__ import annotations

import atexit
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from flexit.cli.checking import require_foreign
from flexit.cli.console import HOLDING, complain
from flexit.files.folder import recover
from flexit.runtime.bundles.manifest import MANIFEST

if TYPE_CHECKING:
    from torch import nn

    from flexit.runtime.sessions.session import Session


def session_at(path: str, *, family: str | None = None) -> tuple[Session, Path]:
    """A session on a bundle, a checkpoint, a run or another library's checkpoint, and the folder of its files.

    Raises:
        UserError: there is no model, it cannot be used, or a family is named for one that is ours.
    """
    recover(path)
    if (Path(path) / MANIFEST).is_file():
        require_foreign(path, family)
        from flexit.runtime.bundles.bundle import open_bundle

        return open_bundle(path), Path(path)
    from flexit.cli.opening import module_at
    from flexit.convert.pretrained import not_finite
    from flexit.convert.sources.source import is_source
    from flexit.runtime.sessions.torch_session import TorchSession

    if is_source(path):
        return _of_source(path, family)
    require_foreign(path, family)
    module, folder = module_at(path)
    complain(map(not_finite, _not_finite(module)))
    return TorchSession(module), folder


def _of_source(path: str, family: str | None) -> tuple[Session, Path]:
    """A session on another library's checkpoint; its files lie in a folder that goes when the process ends."""
    from flexit.convert.pretrained import from_pretrained, warnings_of
    from flexit.lower.torch.module import to_torch
    from flexit.runtime.sessions.torch_session import TorchSession

    model, warnings = warnings_of(from_pretrained(path, family=family))
    holding = Path(mkdtemp(prefix=HOLDING))
    atexit.register(shutil.rmtree, holding, ignore_errors=True)
    folder = holding / (Path(path).resolve().name or "model")
    folder.mkdir()
    for name, content in model.files.items():
        (folder / name).write_bytes(content)
    module = to_torch(model.spec, model.weights)
    complain(warnings())
    return TorchSession(module), folder


def _not_finite(module: nn.Module) -> Iterator[str]:
    """The names of weights that are no numbers."""
    return (name for name, value in module.named_parameters() if not bool(value.isfinite().all()))
