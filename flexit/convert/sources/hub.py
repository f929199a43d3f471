"""Models that the Hugging Face cache of this machine has. Nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

_ID = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def is_hub_id(given: str) -> bool:
    """Whether a text is written as a model's id, ``org/name``."""
    return bool(_ID.fullmatch(given)) and ".." not in given and "--" not in given


def cached(model_id: str) -> Path | None:
    """The folder of a model's main revision in the cache, if its configuration is there."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(model_id, "config.json")
    except (OSError, ValueError):
        return None
    return Path(found).parent if isinstance(found, str) else None
