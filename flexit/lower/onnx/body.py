"""Emits a region inside another op, with its parameters given as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from flexit.ir.program import Node, Param, Region, Value
from flexit.ir.types import Type
from flexit.lower.onnx.emitter import Emitter
from flexit.lower.onnx.lowerings import emit


def emit_body(e: Emitter, region: Region, x: ir.Value, *, weights: Mapping[str, ir.Value]) -> ir.Value:
    """The one result of a region of one input, its parameters by path."""
    prefix = e.prefix
    e.values[region.inputs[0]] = x
    held = {path: Value(path, Type("f32", ())) for path in weights}
    e.values |= {held[path]: value for path, value in weights.items()}
    for node in region.nodes:
        assert isinstance(node, Node)
        params = {slot: held[p.path] if isinstance(p, Param) else p for slot, p in node.params.items()}
        emit(replace(node, params=params), e, prefix=prefix)
    e.prefix = prefix
    return e.values[region.outputs[0]]
