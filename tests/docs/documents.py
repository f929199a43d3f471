"""A small spec around each kind that is not a block, and of each block the first place where it may stand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from flexit.ir.block import Block
from flexit.ir.io.load import check_text
from flexit.ir.language.kinds import Kind, is_inferred
from tests.conformance.placements import EMBED, FORWARD, HEAD, LAYER, placements

Data = dict[str, Any]
REQUIRED: Data = {"limit": 0.05, "value": 0.1, "width": 16, "max_len": 40, "pad_id": 1}
"""Values of fields that have no default, in kinds that have no examples."""


@cache
def document(cls: type[Kind]) -> Data:
    """A whole spec that has a kind."""
    if issubclass(cls, Block):
        return {**placements(cls.kind)[0].data, "name": cls.kind}
    for frame in FRAMES[cls.family]:
        found = {"flexit": 1, "name": cls.kind, **frame(example(cls))}
        if check_text(json.dumps(found)).valid:
            return found
    raise AssertionError(f"no frame takes {cls.family} {cls.kind}")


def example(cls: type[Kind]) -> Data:
    """The first of its examples, or one made of the fields that it must have."""
    examples: tuple[Mapping[str, Any], ...] = getattr(cls, "examples", ())
    if examples:
        return dict(examples[0])
    needed = [
        field.alias or name
        for name, field in cls.model_fields.items()
        if field.is_required() and not is_inferred(cls, name)
    ]
    return {"kind": cls.kind, **{name: REQUIRED[name] for name in needed}}


def _embedded(**fields: Any) -> Data:
    return {"blocks": {"embed": {**EMBED, **fields}, "head": HEAD}}


def _attending(**fields: Any) -> Data:
    attention = {"kind": "multi_head", "n_heads": 2, "mask": "causal", **fields}
    return {"blocks": {"embed": EMBED, "attend": attention, "head": HEAD}}


def _layered(**fields: Any) -> Data:
    return {"blocks": {"embed": EMBED, "layer": {**LAYER, "feed_forward": FORWARD, **fields}, "head": HEAD}}


def _given(name: str, value: Data) -> Data:
    first = {**EMBED, "from": name} if value["kind"] == "tokens" else {"kind": "linear", "d_out": 16, "from": name}
    return {"inputs": {name: value}, "blocks": {"first": first}}


FRAMES: dict[str, list[Callable[[Data], Data]]] = {
    "Bias": [lambda value: _attending(scores={"bias": value})],
    "Ids": [lambda value: _embedded(position={"kind": "learned", "max_len": 40, "ids": value})],
    "Init": [lambda value: {"init": {"default": value}, **_embedded()}],
    "Input": [
        lambda value: _given("input_ids", value),
        lambda value: _given("inputs_embeds", value),
        lambda value: _given("state", value),
    ],
    "Mask": [lambda value: _attending(mask=value)],
    "Position": [lambda value: _embedded(position=value)],
    "Residual": [lambda value: _layered(residual=value)],
    "Scaling": [
        lambda value: _attending(rotary={"scaling": value}),
        lambda value: _attending(rotary={"fraction": 0.5, "scaling": value}),
        lambda value: _attending(head_dim=2 * len(value.get("short_factor", "ab")), rotary={"scaling": value}),
    ],
}
