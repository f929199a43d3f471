"""``rotary_table``: angles, cosines and sines in fp32."""

from __future__ import annotations

import torch
from torch import Tensor

from flexit.ir.ops.rotary_table import RotaryTable
from flexit.ir.program import Node
from flexit.lower.torch.code import Code, Ref


def table(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cos and sin of position times frequency."""
    angles = positions.to(torch.float32).unsqueeze(-1) * frequencies
    return angles.cos(), angles.sin()


def lower(node: Node, code: Code) -> Ref:
    """Cosines and sines."""
    assert isinstance(node.op, RotaryTable)
    frequencies = torch.tensor(node.op.frequencies(), dtype=torch.float64, device="cpu").to(torch.float32)
    return code.call(table, code[node.inputs[0]], code.constant(frequencies))
