"""The day whose documents are drawn: the same one, unless FLEXIT_FUZZ_DAY names another as `make nightly` does."""

from __future__ import annotations

import os

VARIABLE = "FLEXIT_FUZZ_DAY"
SOME_DAY = 20261126


def drawn_day() -> int:
    """``20261126`` for the 26th of November 2026; what is drawn is the same all day long."""
    return int(os.environ.get(VARIABLE) or SOME_DAY)
