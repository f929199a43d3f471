"""``norm`` as ``nn.LayerNorm`` or ``nn.RMSNorm`` where a stock module says it, else as a function of its parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flexit.ir.ops.norm import Norm
from flexit.ir.program import Node, Param
from flexit.lower.torch.code import Code, Ref, module_path


class CastFirst(nn.RMSNorm):
    """``nn.RMSNorm`` that casts back before it multiplies by the gain, as Llama does; the same in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dim."""
        return rms_norm(x, self.weight, None, self.eps or 0.0, 0.0, False)


def module(node: Node) -> nn.Module | None:
    """The module that holds gain and bias, if a stock one fits; it is called only where there is no offset."""
    weight, op = node.params.get("weight"), node.op
    assert isinstance(op, Norm)
    if not isinstance(weight, Param) or weight.shape == (1,) or op.kind in ("l2", "std") or not module_path(node):
        return None
    if op.kind == "layer":
        return nn.LayerNorm(weight.shape[0], op.eps, bias="bias" in node.params)
    return (nn.RMSNorm if op.fp32_gain else CastFirst)(weight.shape[0], op.eps)


def lower(node: Node, code: Code) -> Ref:
    """Normalise the last dim."""
    x, op = code[node.inputs[0]], node.op
    assert isinstance(op, Norm)
    if module(node) is not None and not op.offset:
        path = module_path(node)
        assert path is not None
        return Ref(f"{code.attribute(path)}({x})")
    weight, bias = code.weight(node, "weight"), code.weight(node, "bias")
    function = {"layer": layer_norm, "rms": rms_norm, "l2": l2_norm, "std": std_norm}[op.kind]
    return code.call(function, x, weight, bias, op.eps, op.offset, op.fp32_gain)


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: float) -> Tensor:
    """(x - mean) / sqrt(var + eps) * (weight + offset) + bias; a scalar gain broadcasts."""
    eps, offset, _ = rest
    gain = None if weight is None else (weight + offset if offset else weight).expand(x.shape[-1])
    return F.layer_norm(x, (x.shape[-1],), gain, bias, eps)


def rms_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: float) -> Tensor:
    """X / sqrt(mean(x^2) + eps) * (weight + offset), in fp32 up to the cast, which ``fp32_gain`` puts last."""
    eps, offset, fp32_gain = rest
    del bias
    width = (x.shape[-1],)
    if weight is None:
        return F.rms_norm(x, width, None, eps)
    if x.dtype in (torch.float32, torch.float64):
        return F.rms_norm(x, width, (weight + offset if offset else weight).expand(width), eps)
    if fp32_gain:
        return (F.rms_norm(x.float(), width, None, eps) * (weight.float() + offset)).to(x.dtype)
    return F.rms_norm(x, width, None, eps) * (weight + offset if offset else weight)


def l2_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: float) -> Tensor:
    """X / sqrt(sum(x^2) + eps)."""
    del weight, bias
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + rest[0])


def std_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: float) -> Tensor:
    """(x - mean) / (std + eps) * weight + bias in fp32 at least, cast once at the end.

    The variance of equal numbers, 0, is kept from the square root, which has no gradient there.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    centred = wide - wide.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
    y = centred / (variance.clamp(min=torch.finfo(wide.dtype).tiny).sqrt() + rest[0])
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias).to(x.dtype)
