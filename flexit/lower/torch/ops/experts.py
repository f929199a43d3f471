"""``experts``: tokens grouped by expert, so that each body runs once on the tokens that chose it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from flexit.ir.ops.experts import Experts
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref
from flexit.lower.torch.function import compile_function

Body = Callable[..., Tensor]


def run_experts(x: Tensor, index: Tensor, weight: Tensor, *rest: object) -> Tensor:
    """Sum over the chosen experts; every body runs, on as many tokens as chose it, none included."""
    module, function, on_input, *params = rest
    body = cast("Body", function)
    stacked = [param for param in params if isinstance(param, Tensor)]
    flat = x.reshape(-1, x.shape[-1])
    index, weight = index.reshape(-1, index.shape[-1]), weight.reshape(-1, weight.shape[-1])
    total: Tensor | None = None
    for expert in range(stacked[0].shape[0]):
        token, choice = torch.where(index == expert)
        factor = weight[token, choice].unsqueeze(-1)
        chosen = flat[token]
        parts = [param[expert] for param in stacked]
        y = body(module, chosen * factor, *parts) if on_input else body(module, chosen, *parts) * factor
        total = flat.new_zeros(flat.shape[0], y.shape[-1]) if total is None else total
        total = total.index_add(0, token, y)
    assert total is not None
    return total.reshape(*x.shape[:-1], total.shape[-1])


def lower(node: Node, code: Code) -> Ref:
    """The mixture."""
    op = node.op
    assert isinstance(op, Experts)
    x, index, weight = (code[value] for value in node.inputs)
    body = Ref(code.name(compile_function(op.body, tuple(node.params)), "f"))
    params = [code.weight(node, slot) for slot in node.params]
    return code.call(run_experts, x, index, weight, Ref("self"), body, op.weight_on == "input", *params)
