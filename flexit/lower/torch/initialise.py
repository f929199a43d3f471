"""First values of parameters, by role. Each is drawn from its own generator, seeded by the seed and its path, so that
the result does not depend on the order of construction, on the device or on what else the model has.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from flexit.ir.analysis.branches import residual_branches
from flexit.ir.language import initialisation as init
from flexit.ir.program import Param, Program
from flexit.ir.spec import Spec

_UNSAID = {"gain": init.Ones(), "bias": init.Zeros(), "sink": init.Zeros()}
"""What a role is drawn by if no entry says so; every other role is a weight."""


def initial_values(
    spec: Spec, program: Program, *, seed: int, only: Collection[str] | None = None
) -> Mapping[str, Tensor]:
    """Parameters by path, all or some of them, in fp32 on the CPU."""
    branches = residual_branches(spec, program)
    values: dict[str, Tensor] = {}
    for param in program.params():
        if only is not None and param.path not in only:
            continue
        generator = torch.Generator().manual_seed(seed_of(seed, param.path))
        own = branches.get(param.path.partition(".")[0], 0)
        values[param.path] = _drawn(spec, param, branches=own, generator=generator)
    return values


def seed_of(seed: int, path: str) -> int:
    """What the parameter at a path is drawn from."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{path}".encode()).digest()[:7], "big")


def _drawn(spec: Spec, param: Param, *, branches: int, generator: torch.Generator) -> Tensor:
    value = torch.empty(param.shape, dtype=torch.float32)
    if param.first_value is not None:
        return torch.tensor(param.first_value, dtype=torch.float32).reshape(param.shape)
    how = spec.init_of(param.path, param.role) or _UNSAID.get(param.role, init.Normal())
    scale = 1.0
    if getattr(how, "depth_scaled", False) and branches:
        scale = branches**-0.5
    matrices = value if value.dim() == 3 and param.role != "conv" else value.unsqueeze(0)
    for matrix in matrices:
        _draw(how, matrix, param, scale=scale, generator=generator)
    return value - param.offset if param.offset else value


def _draw(how: init.Init, value: Tensor, param: Param, *, scale: float, generator: torch.Generator) -> None:
    """Fill one array in place."""
    if isinstance(how, init.Zeros | init.Ones):
        nn.init.constant_(value, how.number)
    elif isinstance(how, init.Constant):
        nn.init.constant_(value, how.value)
    elif isinstance(how, init.Uniform):
        nn.init.uniform_(value, -how.limit, how.limit, generator=generator)
    elif isinstance(how, init.Normal):
        nn.init.normal_(value, std=_std(how.std, value, param) * scale, generator=generator)
    elif isinstance(how, init.TruncatedNormal):
        std = _std(how.std, value, param) * scale
        nn.init.trunc_normal_(value, std=std, a=-2 * std, b=2 * std, generator=generator)
    elif isinstance(how, init.Orthogonal):
        nn.init.orthogonal_(value.view(value.shape[0], -1), gain=how.gain, generator=generator)
    elif isinstance(how, init.XavierUniform | init.XavierNormal):
        draw = nn.init.xavier_uniform_ if isinstance(how, init.XavierUniform) else nn.init.xavier_normal_
        draw(value, gain=how.gain * scale, generator=generator)
    elif isinstance(how, init.KaimingNormal):
        nn.init.normal_(value, std=how.gain / math.sqrt(_fan(value, how.fan)), generator=generator)
    elif isinstance(how, init.KaimingUniform):
        bound = math.sqrt(3.0) * (how.gain / math.sqrt(_fan(value, how.fan)))
        nn.init.uniform_(value, -bound, bound, generator=generator)
    else:
        raise TypeError(f"no way to draw {how.kind}")


def _std(std: float | str, value: Tensor, param: Param) -> float:
    """A standard deviation as a number."""
    if not isinstance(std, str):
        return std
    if std == "rsqrt_d_model":
        return param.width**-0.5
    fan_in = _fan(value, "in")
    return (fan_in * (param.head_dim or 1)) ** -0.5 if std == "rsqrt_fan_in_head_dim" else fan_in**-0.5


def _fan(value: Tensor, side: str) -> int:
    """Inputs or outputs per unit, receptive field counted, as torch's fan modes."""
    if value.dim() < 2:
        return value.numel()
    field = math.prod(value.shape[2:])
    return value.shape[1 if side == "in" else 0] * field
