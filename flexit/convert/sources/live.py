"""A model of ``transformers`` in memory, written by its own ``save_pretrained`` and read from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any


def is_live(given: object) -> bool:
    """Whether this is a model of ``transformers``, which need not be importable to tell."""
    return any(
        base.__name__ == "PreTrainedModel" and base.__module__ == "transformers.modeling_utils"
        for base in type(given).__mro__
    )


def save(model: Any) -> Path:
    """Write a model into a new temporary folder, which is the caller's to remove."""
    folder = Path(mkdtemp(prefix="flexit-source-"))
    try:
        model.save_pretrained(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder
