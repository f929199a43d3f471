"""``merge``: a checkpoint with branches as one without."""

from __future__ import annotations

import json
from pathlib import Path

from flexit.errors import UserError
from flexit.files.folder import PARTIAL, writing
from flexit.files.safetensors import Progress, write_safetensors
from flexit.ir.io.places import CARRIED, WEIGHTS
from flexit.runtime.adapters.folder import is_adapter, read_merged, read_note
from flexit.runtime.opening import checkpoint_at
from flexit.runtime.saved import read_spec
from flexit.runtime.train.describe import spec_json
from flexit.version import __version__

MARKER = "merge.json"


def merge_checkpoint(
    path: str, out: str | Path, *, base: str | Path | None = None, force: bool = False, progress: Progress | None = None
) -> int:  # fmt: skip
    """Write a checkpoint whose weights have the branches of another in them.

    Args:
        path: a run, or a checkpoint with an adapter.
        out: the folder that is written.
        base: where the weights are that the branches stand beside, if not where the adapter says.
        force: replace a folder that was written so.
        progress: called with bytes written and bytes in all.

    Returns:
        How many matrices have a branch in them.

    Raises:
        UserError: FX2212, there is no adapter; the folder may not be written.
        CheckpointError: FX1201, FX2211.
    """
    folder = checkpoint_at(path)
    if folder is None or not is_adapter(folder):
        raise UserError.of(
            "FX2212", "there is nothing to merge", path=path, expected="a run or checkpoint of lora",
            found="a checkpoint without an adapter" if folder is not None else "no checkpoint",
            cure="use it as it is" if folder is not None else "give the folder that flexit train wrote",
        )  # fmt: skip
    weights = read_merged(folder, base=None if base is None else Path(base))
    spec = read_spec(folder)
    with writing(out, marker=MARKER, force=force) as temporary:
        (temporary / "spec.json").write_text(spec_json(spec), encoding="utf-8")
        write_safetensors(temporary / WEIGHTS, weights, metadata={"format": "pt"}, progress=progress)
        for name in CARRIED:
            if (folder / name).is_file():
                (temporary / name).write_bytes((folder / name).read_bytes())
        files = sorted(path.name for path in temporary.iterdir() if path.name != PARTIAL)
        told = {"flexit": __version__, "from": str(folder), "files": files}
        (temporary / MARKER).write_text(json.dumps(told, indent=1), encoding="utf-8")
    return len(read_note(folder).targets)
