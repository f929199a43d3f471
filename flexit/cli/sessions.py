"""A session on what a MODEL argument names, without PyTorch where it is a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flexit.files.folder import recover
from flexit.runtime.bundles.manifest import MANIFEST

if TYPE_CHECKING:
    from flexit.runtime.sessions.session import Session


def session_at(path: str) -> tuple[Session, Path]:
    """A session on a bundle, checkpoint or run, and the folder of its files: the bundle, or the checkpoint.

    Raises:
        UserError: there is no model, or it cannot be used.
    """
    recover(path)
    if (Path(path) / MANIFEST).is_file():
        from flexit.runtime.bundles.bundle import open_bundle

        return open_bundle(path), Path(path)
    from flexit.cli.opening import module_at
    from flexit.runtime.sessions.torch_session import TorchSession

    module, folder = module_at(path)
    return TorchSession(module), folder
