"""A run folder that is taken for a run: nobody else writes it, and the disk has room for what comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flexit.files.folder import locked
from flexit.runtime.train.arguments import require_new, require_own
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.resources.disk import require_disk


@contextmanager
def taken(out: Path, config: TrainingConfig, *, begins: bool, each: int, steps: int, allow: bool) -> Iterator[None]:
    """Be the only one that writes a run folder.

    Args:
        out: the folder.
        config: of the trainer.
        begins: whether the run must be a new one.
        each: bytes of a checkpoint.
        steps: the last step.
        allow: whether to begin although there is no room for the checkpoints.

    Raises:
        UserError: FX1303, someone else writes it; FX1302, it holds another run, or something that is none.
        ResourceError: FX1710, the disk has no room.
    """
    require_own(out)
    with locked(out):
        if begins:
            require_new(out)
        require_disk(out, each=each, keep=config.checkpoint, steps=steps, allow=allow)
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        yield
