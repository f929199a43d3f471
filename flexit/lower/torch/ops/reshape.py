"""``reshape``; copied dims are read from the operand's shape."""

from __future__ import annotations

import torch

from flexit.ir.ops.reshape import Reshape
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def lower(node: Node, code: Code) -> Ref:
    """Other dims."""
    assert isinstance(node.op, Reshape)
    x = code[node.inputs[0]]
    dims = [
        entry if isinstance(entry, int)
        else (made if isinstance(made, int) else -1) if entry == "*"
        else Ref(f"{x}.shape[{int(entry[1:])}]")
        for entry, made in zip(node.op.to, node.output.dims, strict=True)
    ]  # fmt: skip
    return code.call(torch.reshape, x, tuple(dims))
