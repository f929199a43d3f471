"""The seed of the day: what is drawn anew every day, and the same all day long."""

from __future__ import annotations

import os
from datetime import UTC, datetime

VARIABLE = "FLEXIT_FUZZ_DAY"


def today() -> int:
    """``20261126``: the day in UTC, or that of the variable FLEXIT_FUZZ_DAY, which brings a day back."""
    return int(os.environ.get(VARIABLE) or f"{datetime.now(UTC):%Y%m%d}")
