"""A spec as a YAML text that a person would write: what was chosen, small mappings on one line."""

from __future__ import annotations

from typing import Any, cast

from flexit.ir.io.flow import bare, flow, scalar
from flexit.ir.language.template import as_written
from flexit.ir.spec import Spec

WIDTH = 110


def to_yaml(spec: Spec) -> str:
    """What was chosen, as YAML; reading it gives an equal spec."""
    return "\n".join(_lines(as_written(spec), 0)) + "\n"


def _lines(data: dict[str, Any], indent: int) -> list[str]:
    lines: list[str] = []
    for key, entry in data.items():
        value = bare(entry)
        start = f"{' ' * indent}{scalar(key)}:"
        line = f"{start} {flow(value)}"
        if isinstance(value, dict) and value and (len(line) > WIDTH or key == "blocks" or _deep(value)):
            lines += [start, *_lines(cast("dict[str, Any]", value), indent + 2)]
        else:
            lines.append(line)
    return lines


def _deep(value: Any, levels: int = 2) -> bool:
    """Whether mappings nest deeper than reads well on one line."""
    if not isinstance(value, dict):
        return False
    return levels == 0 or any(_deep(bare(entry), levels - 1) for entry in cast("dict[str, Any]", value).values())
