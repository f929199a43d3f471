"""A model of ``transformers`` in memory, written by its own ``save_pretrained`` and read from there."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from flexit.errors import SourceError
from flexit.ir.wording import cut


def is_live(given: object) -> bool:
    """Whether this is a model of ``transformers``, which need not be importable to tell."""
    return any(
        base.__name__ == "PreTrainedModel" and base.__module__ == "transformers.modeling_utils"
        for base in type(given).__mro__
    )


def save(model: Any) -> Path:
    """Write a model into a new temporary folder, which is the caller's to remove.

    Raises:
        SourceError: FX1801, the library does not write it.
    """
    folder = Path(mkdtemp(prefix="flexit-source-"))
    try:
        model.save_pretrained(folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if not isinstance(error, Exception):
            raise
        raise SourceError.of(
            "FX1801", f"a {type(model).__name__} cannot be opened", expected="a model that save_pretrained can write",
            found=cut(str(error) or type(error).__name__), cure="see what model.save_pretrained(folder) says",
        ) from error  # fmt: skip
    return folder
