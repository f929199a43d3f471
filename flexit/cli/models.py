"""Commands about models: ``train export verify generate demo``. Heavy libraries are imported inside them."""

from __future__ import annotations

from typing import Any

COMMANDS: tuple[Any, ...] = ()
