"""``linear`` as ``nn.Linear``, or ``F.linear`` on a weight that something else owns."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from flexit.ir.ops.linear import Linear
from flexit.ir.program import Node, Param
from flexit.lower.torch.code import Code, Ref, module_path


def module(node: Node) -> nn.Module | None:
    """The module that holds the parameters."""
    weight = node.params["weight"]
    if _borrowed(node) or not isinstance(weight, Param):
        return None
    return nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in node.params)


def lower(node: Node, code: Code) -> Ref:
    """``x W^T + b``."""
    x = code[node.inputs[0]]
    path = module_path(node)
    if path is None or _borrowed(node):
        return code.call(F.linear, x, code.weight(node, "weight"), code.weight(node, "bias"))
    return Ref(f"{code.attribute(path)}({x})")


def _borrowed(node: Node) -> bool:
    """Whether some parameter lives elsewhere than in one stock module."""
    assert isinstance(node.op, Linear)
    path, bias = module_path(node), node.params.get("bias")
    apart = isinstance(bias, Param) and bias.path.rpartition(".")[0] != path
    return node.op.tied or apart or not path or any(not isinstance(param, Param) for param in node.params.values())
