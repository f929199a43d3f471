"""Finds the lowering of an op by its name, and writes the nodes of a region."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from functools import cache
from types import ModuleType

from torch import nn

from flexit.errors import LoweringError
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


@cache
def lowering(name: str) -> ModuleType:
    """The module that lowers ops of this name.

    Raises:
        LoweringError: there is none.
    """
    try:
        return importlib.import_module(f"flexit.lower.torch.ops.{name}")
    except ModuleNotFoundError as error:
        raise LoweringError(f"the op {name!r} has no lowering to torch") from error


@cache
def _takes_past(name: str) -> bool:
    return "past" in inspect.signature(lowering(name).lower).parameters


def holder(node: Node) -> nn.Module | None:
    """A new stock module for the op's parameters, if one holds them."""
    make = getattr(lowering(node.op.name), "module", None)
    return None if make is None else make(node)


def write(node: Node, code: Code, past: Mapping[str, Ref]) -> dict[str, Ref]:
    """Print one op; ``past`` holds the states of the region by path.

    Returns:
        The op's new states by path.
    """
    lower = lowering(node.op.name).lower
    if not _takes_past(node.op.name):
        names = (
            code.unpack(lower(node, code), len(node.outputs))
            if len(node.outputs) > 1
            else [code.assign(lower(node, code))]
        )
        code.values |= dict(zip(node.outputs, names, strict=True))
        return {}
    state = node.states[0] if node.states else None
    expression = lower(node, code, past[state.path] if state else Ref("None"))
    if lowering(node.op.name).RETURNS_STATE:
        result, present = code.unpack(expression, 2)
    else:
        result = present = code.assign(expression)
    code.values[node.output] = result
    return {} if state is None else {state.path: present}
