"""Devices and precisions: which there are, and what to do where there are not."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from flexit.errors import UserError
from flexit.runtime.train.config import Device, Precision
from flexit.runtime.train.resources.launch import launched


def pick_device(wanted: Device) -> torch.device:
    """The device that a name means here; of several GPUs the one with the number of this process on the machine.

    Raises:
        UserError: FX1702, it is not here.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        wanted = next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[wanted]:
        raise _missing("device", wanted, [name for name, here in present.items() if here])
    return _own_gpu() if wanted == "cuda" and launched().count > 1 else torch.device(wanted)


def _own_gpu() -> torch.device:
    """The GPU of this process among several on the machine."""
    launch, there = launched(), torch.cuda.device_count()
    if launch.local >= there:
        raise UserError.of(
            "FX1702", "this machine has too few GPUs", path="device",
            expected=f"a GPU for each of the {launch.beside} processes on this machine", found=f"{there} GPUs",
            cure=f"start at most {there} processes here, or write device: cpu",
        )  # fmt: skip
    return torch.device("cuda", launch.local)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """The context in which forward runs in a precision.

    Raises:
        UserError: FX1702, the device cannot.
    """
    if precision == "fp32":
        return nullcontext()
    if precision == "fp16":
        return torch.autocast(device.type, torch.float16)
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise _missing("precision", precision, ["fp32"])
    return torch.autocast(device.type, torch.bfloat16)


def make_scaler(device: torch.device, precision: Precision) -> torch.amp.GradScaler | None:
    """What keeps the gradients of fp16 from vanishing, by a factor on the loss (Micikevicius et al. 2018); else None.

    Raises:
        UserError: FX1702, the device cannot compute in fp16 or check gradients for overflow.
    """
    if precision != "fp16":
        return None
    scaler = torch.amp.GradScaler(device.type)
    probe = torch.nn.Linear(1, 1, device=device)
    try:
        with torch.autocast(device.type, torch.float16):
            loss = probe(torch.ones(1, 1, device=device)).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(torch.optim.SGD(probe.parameters(), lr=0.0))
    except (RuntimeError, NotImplementedError) as error:
        raise _missing("precision", precision, ["fp32", "bf16"]) from error
    return torch.amp.GradScaler(device.type)


def _missing(path: str, wanted: str, there: list[str]) -> UserError:
    return UserError.of(
        "FX1702", f"this machine has no {wanted}", path=path, expected=f"one of {', '.join(there)}", found=wanted,
        cure=f"set {path} to {there[0]}",
    )  # fmt: skip
