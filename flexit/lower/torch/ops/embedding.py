"""``embedding`` as ``nn.Embedding``, or ``F.embedding`` on a table that something else owns."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from flexit.ir.ops.embedding import Embedding
from flexit.ir.program import Node, Param
from flexit.lower.torch.code import Code, Ref, module_path


def module(node: Node) -> nn.Module | None:
    """The module that holds the table."""
    weight = node.params["weight"]
    assert isinstance(node.op, Embedding)
    if node.op.tied or not isinstance(weight, Param) or not module_path(node):
        return None
    rows, width = weight.shape
    return nn.Embedding(rows, width)


def lower(node: Node, code: Code) -> Ref:
    """Rows of the table."""
    ids, path = code[node.inputs[0]], module_path(node)
    assert isinstance(node.op, Embedding)
    if node.op.tied or not path:
        return code.call(F.embedding, ids, code.weight(node, "weight"))
    return Ref(f"{code.attribute(path)}({ids})")
