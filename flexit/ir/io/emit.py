"""A spec as a YAML text that a person would write: what was chosen, small mappings on one line."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from flexit.ir.io.scalars import BadNumber, resolve
from flexit.ir.spec import Spec
from flexit.ir.template import as_written

WIDTH = 110
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.*/-]*(:[a-z0-9_]+)?")


def to_yaml(spec: Spec) -> str:
    """What was chosen, as YAML; reading it gives an equal spec."""
    return "\n".join(_lines(as_written(spec), 0)) + "\n"


def _lines(data: dict[str, Any], indent: int) -> list[str]:
    lines: list[str] = []
    for key, entry in data.items():
        value = _bare(entry)
        start = f"{' ' * indent}{_scalar(key)}:"
        flow = f"{start} {_flow(value)}"
        if isinstance(value, dict) and value and (len(flow) > WIDTH or key == "blocks" or _deep(value)):
            lines += [start, *_lines(cast("dict[str, Any]", value), indent + 2)]
        else:
            lines.append(flow)
    return lines


def _deep(value: Any, levels: int = 2) -> bool:
    """Whether mappings nest deeper than reads well on one line."""
    if not isinstance(value, dict):
        return False
    return levels == 0 or any(_deep(_bare(entry), levels - 1) for entry in cast("dict[str, Any]", value).values())


def _bare(value: Any) -> Any:
    """A kind without fields as its name."""
    if not isinstance(value, dict):
        return value
    entries = cast("dict[str, Any]", value)
    return entries["kind"] if list(entries) == ["kind"] else entries


def _flow(value: Any) -> str:
    value = _bare(value)
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return f"{{{', '.join(f'{_scalar(key)}: {_flow(entry)}' for key, entry in entries.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(entry) for entry in cast('list[Any]', value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def _is_plain(text: str) -> bool:
    """Whether a text needs no quotes."""
    try:
        return PLAIN.fullmatch(text) is not None and resolve(text) == text
    except BadNumber:
        return False
