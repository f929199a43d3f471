"""A region as a plain function of its inputs and parameters, for bodies that run on stacked parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from flexit.errors import LoweringError
from flexit.ir.program import Call, Param, Region, Value
from flexit.ir.types import Type
from flexit.lower.torch.code import Code
from flexit.lower.torch.lowerings import write


def compile_function(region: Region, params: Sequence[str]) -> Callable[..., Any]:
    """``f(module, inputs..., parameters in the order of params)``; the region has one output and no calls.

    The module is the one that runs it, which knows whether it is training.
    """
    code = Code(region)
    arguments = [code.fresh() for _ in region.inputs]
    code.values |= dict(zip(region.inputs, arguments, strict=True))
    weights = {path: Value("weight", Type("f32", ())) for path in params}
    for value in weights.values():
        code.values[value] = code.fresh()
        arguments.append(code.values[value])
    for node in region.nodes:
        if isinstance(node, Call):
            raise LoweringError("a body of experts calls a region")
        slots = {slot: weights[p.path] if isinstance(p, Param) else p for slot, p in node.params.items()}
        write(replace(node, params=slots), code, {})
    if code.constants:
        raise LoweringError("a body of experts has constants")
    forward, _ = code.compile(arguments, [code[value] for value in region.outputs])

    def body(module: object, *inputs: Any) -> Any:
        return forward(module, *inputs)[0]

    return body
