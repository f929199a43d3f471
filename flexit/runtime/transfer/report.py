"""What became of every tensor, for people and for programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flexit.runtime.transfer.plan import Plan, Step

_LAYER = re.compile(r"(?<=\blayers\.)\d+")
HEADING = ["what", "tensor", "lengths", "from", ""]


def rows(plan: Plan) -> list[list[str]]:
    """A table with a line for each tensor, those of layers together of which the same becomes."""
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for step in plan.steps:
        found.setdefault(_key(step), []).append((_number(step.path), _number(step.source or "")))
    lines = [HEADING]
    for (what, path, lengths, source, note), layers in found.items():
        here, there = (_said([pair[side] for pair in layers]) for side in (0, 1))
        origin = "" if source == path and here == there else _LAYER.sub(there, source)
        lines.append([what, _LAYER.sub(here, path), lengths, origin, note])
    gone: dict[tuple[str, str], list[str]] = {}
    for path, shape in plan.dropped.items():
        gone.setdefault((_LAYER.sub("0", path), _lengths(shape)), []).append(_number(path))
    lines += [["dropped", _LAYER.sub(_said(layers), path), lengths, "", ""] for (path, lengths), layers in gone.items()]
    return lines


def changes(plan: Plan) -> list[str]:
    """A line for what is not as it was: ``made head.out.weight 2 x 384``."""
    return [" ".join(filter(None, cells)) for cells in rows(plan)[1:] if cells[0] != "kept"]


def counts(plan: Plan) -> dict[str, int]:
    """Tensors by what became of them."""
    found: dict[str, int] = {}
    for step in plan.steps:
        found[step.what] = found.get(step.what, 0) + 1
    return found | ({"dropped": len(plan.dropped)} if plan.dropped else {})


def summary(plan: Plan) -> str:
    """How many of each, and what became of the vocabulary."""
    said = ", ".join(f"{count} {what}" for what, count in counts(plan).items())
    if plan.rows is None:
        return said
    kept = len(plan.rows.index) - plan.rows.new
    return f"{said}; tokens by {plan.rows.by}: {kept} kept, {plan.rows.new} new, {plan.rows.left} left out"


def data(plan: Plan) -> dict[str, Any]:
    """Every tensor, as JSON data."""
    told: dict[str, Any] = {
        "tensors": [_step(step) for step in plan.steps],
        "dropped": [{"tensor": path, "lengths": list(shape)} for path, shape in plan.dropped.items()],
    }  # fmt: skip
    if plan.rows is not None:
        kept = len(plan.rows.index) - plan.rows.new
        told["tokens"] = {"by": plan.rows.by, "kept": kept, "new": plan.rows.new, "left": plan.rows.left}
    return told


def _step(step: Step) -> Mapping[str, Any]:
    told: dict[str, Any] = {"tensor": step.path, "what": step.what, "lengths": list(step.shape)}
    if step.source is not None:
        told |= {"from": step.source, "before": list(step.before or ())}
    return told | ({"note": step.note} if step.note else {})


def _key(step: Step) -> tuple[str, ...]:
    lengths = _lengths(step.shape)
    if step.before is not None and step.before != step.shape:
        lengths = f"{_lengths(step.before)} -> {lengths}"
    return step.what, _LAYER.sub("0", step.path), lengths, _LAYER.sub("0", step.source or ""), step.note


def _lengths(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "1"


def _number(path: str) -> str:
    """The innermost layer that a tensor is in."""
    found = _LAYER.findall(path)
    return found[-1] if found else ""


def _said(layers: Sequence[str]) -> str:
    """Layers as ranges where they follow each other: ``0-3``, ``0,2``."""
    numbers = [int(layer) for layer in layers if layer]
    if len(numbers) > 1 and numbers == [*range(numbers[0], numbers[0] + len(numbers))]:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
