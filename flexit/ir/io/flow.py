"""Plain data as YAML on one line that can be pasted into a document, texts quoted where they need it."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from flexit.ir.io.scalars import BadNumber, resolve

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.*/-]*(:[a-z0-9_]+)?")


def flow(value: Any) -> str:
    """Mappings in braces, lists in brackets, a kind without fields as its name."""
    value = bare(value)
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return f"{{{', '.join(f'{scalar(key)}: {flow(entry)}' for key, entry in entries.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(flow(entry) for entry in cast('list[Any]', value))}]"
    return scalar(value)


def scalar(value: Any) -> str:
    """One text, number, truth value or null."""
    if isinstance(value, str):
        return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def bare(value: Any) -> Any:
    """A kind without fields as its name, anything else as it is."""
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, Any]", value)
    return entries["kind"] if list(entries) == ["kind"] else entries


def _is_plain(text: str) -> bool:
    """Whether a text needs no quotes."""
    try:
        return PLAIN.fullmatch(text) is not None and resolve(text) == text
    except BadNumber:
        return False
