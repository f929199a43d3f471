"""How much memory there is for this process, and the refusal to start what will not fit."""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from flexit.errors import ResourceError

_GROUP = Path("/sys/fs/cgroup")


def available(device: torch.device | None = None) -> int:
    """Bytes that this process can still take: of a device, or of the machine within its control group's limits."""
    if device is not None and device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limits = [(_GROUP / "memory.max", _GROUP / "memory.current")]
    limits.append((_GROUP / "memory/memory.limit_in_bytes", _GROUP / "memory/memory.usage_in_bytes"))
    for limit, used in limits:
        try:
            free = min(free, int(limit.read_text()) - int(used.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(0, free)


def require_memory(
    needed: int, *, what: str, cure: str, device: torch.device | None = None, allow: bool = False
) -> None:
    """Refuse before anything is allocated.

    Args:
        needed: predicted peak in bytes.
        what: what needs it.
        cure: what to lower.
        device: where it is needed, the CPU's memory by default.
        allow: start anyway.

    Raises:
        ResourceError: FX1703, with both figures.
    """
    there = available(device)
    if allow or needed <= there:
        return
    raise ResourceError.of(
        "FX1703", f"{what} needs more memory than there is", expected=f"{size(needed)} at the peak, as predicted",
        found=f"{size(there)} available", cure=f"{cure}; or start anyway with --allow-memory",
    )  # fmt: skip


def size(count: int) -> str:
    """``1.4 GiB``."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
