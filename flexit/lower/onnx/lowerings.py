"""Finds the lowering of an op by its name, and emits nodes."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

from flexit.errors import LoweringError
from flexit.ir.program import Node
from flexit.lower.onnx.emitter import Emitter


@cache
def lowering(name: str) -> ModuleType:
    """The module that lowers ops of this name.

    Raises:
        LoweringError: there is none.
    """
    try:
        return importlib.import_module(f"flexit.lower.onnx.ops.{name}")
    except ModuleNotFoundError as error:
        raise LoweringError(f"the op {name!r} has no lowering to onnx") from error


def emit(node: Node, e: Emitter, *, prefix: str = "") -> None:
    """Emit one op under its path."""
    e.prefix = "/".join(part for part in (prefix, node.path.replace(".", "/")) if part)
    results = lowering(node.op.name).lower(node, e)
    results = results if isinstance(results, list) else [results]
    e.values |= dict(zip(node.outputs, results, strict=True))
