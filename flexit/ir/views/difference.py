"""What two specs differ in: fields, parameters and needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from flexit.ir.analysis.cost import Cost, cost
from flexit.ir.compile import compile_spec
from flexit.ir.io.canonical import canonical, program_hash
from flexit.ir.program import Program, join, walk
from flexit.ir.spec import Spec
from flexit.ir.views.tree import ranges
from flexit.ir.wording import shown

ABSENT = "-"
"""What stands for a value that one side does not have."""
LAYER = re.compile(r"(.*?\.layers)\.([0-9]+)\.(.*)")
"""The path of a parameter in a layer; a block may be called ``layers`` too."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs, as text; a side that lacks it has ``-``."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that two specs differ in.

    Attributes:
        fields: choices, by their place in the canonical form; of a block or kind that only one side has, the top.
        shapes: parameters by path, layers of equal change as one row (``decoder.layers.0-11.attention...``).
        costs: figures that differ.
        same_program: whether both compute the same, whatever they are called.
    """

    fields: tuple[Change, ...]
    shapes: tuple[Change, ...]
    costs: tuple[Change, ...]
    same_program: bool


def difference(before: Spec, after: Spec) -> Difference:
    """Compare two valid specs."""
    programs = compile_spec(before), compile_spec(after)
    return Difference(
        fields=tuple(_fields(canonical(before), canonical(after), "")),
        shapes=tuple(_collapsed(_shapes(programs[0]), _shapes(programs[1]))),
        costs=tuple(_costs(cost(programs[0]), cost(programs[1]))),
        same_program=program_hash(before) == program_hash(after),
    )


def _fields(before: Any, after: Any, path: str) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        one, other = cast("dict[str, Any]", before), cast("dict[str, Any]", after)
        if one.get("kind") != other.get("kind"):
            yield Change(path, _text(one.get("kind")), _text(other.get("kind")))
            return
        for key in dict.fromkeys((*one, *other)):
            inside = f"{path}.{key}" if path else key
            yield from _fields(one.get(key, ABSENT), other.get(key, ABSENT), inside)
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield Change(path, _text(before), _text(after))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return str(entries.get("kind", "{...}" if entries else "{}"))
    return ABSENT if value is ABSENT else shown(value)


def _shapes(program: Program) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for at, region in walk(program.root):
        for param in region.params:
            found[join(at, param.path)] = param.shape
    return found


def _collapsed(before: Mapping[str, tuple[int, ...]], after: Mapping[str, tuple[int, ...]]) -> Iterator[Change]:
    """Changes of shape, those of equal parameters in several layers as one."""
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    for path in dict.fromkeys((*before, *after)):
        old, new = _shape(before.get(path)), _shape(after.get(path))
        if old != new:
            layer = LAYER.fullmatch(path)
            stack, index, tail = (path, None, "") if layer is None else layer.groups()
            groups.setdefault((stack, tail, old, new), []).extend([] if index is None else [int(index)])
    for (stack, tail, old, new), indices in groups.items():
        yield Change(f"{stack}.{ranges(indices)}.{tail}" if indices else stack, old, new)


def _shape(shape: tuple[int, ...] | None) -> str:
    return ABSENT if shape is None else f"[{', '.join(map(str, shape))}]"


def _costs(before: Cost, after: Cost) -> Iterator[Change]:
    figures = {
        "parameters": "parameters", "active": "active parameters", "flops": "FLOPs of one forward",
        "cache_per_token": "bytes of decoding state per token", "training_peak": "bytes to train",
    }  # fmt: skip
    for name, label in figures.items():
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            yield Change(label, f"{one:,}", f"{other:,}{f' ({other / one:.2f}x)' if one else ''}")
