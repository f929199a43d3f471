"""Models that the Hugging Face cache of this machine has. Nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from flexit.errors import SourceError

_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def is_hub_id(given: str) -> bool:
    """Whether a text is written as a model's id, ``org/name``."""
    return bool(_ID.fullmatch(given)) and ".." not in given and "--" not in given


def cached(model_id: str) -> Path | None:
    """The folder of a model's main revision in the cache, if its configuration is there.

    Raises:
        SourceError: FX1825, the package that knows the cache is missing.
    """
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError as error:
        raise SourceError.of(
            "FX1825", f"{model_id} may be the id of a model in the Hugging Face cache",
            expected="the package huggingface_hub, which knows the cache", found=str(error),
            cure="pip install 'flexit-ml[hf]', or give the folder",
        ) from error  # fmt: skip
    try:
        found = try_to_load_from_cache(model_id, "config.json")
    except (OSError, ValueError):
        return None
    return Path(found).parent if isinstance(found, str) else None
