"""Which records are for training, choosing and testing, by what is in them and by nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def part_of(text: str, shares: Mapping[str, float]) -> str:
    """The part that a text belongs to, which equal texts share.

    Args:
        text: what is hashed.
        shares: of the parts beside ``train``, which is the rest.
    """
    place = int(hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8], 16) / 2**32
    for part, share in shares.items():
        if place < share:
            return part
        place -= share
    return "train"
