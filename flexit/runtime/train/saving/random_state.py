"""Every random state that training may draw from, as plain tensors: Python, numpy, torch on each device."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Raw(NamedTuple):
    """States as each library gives them, which takes no time.

    Attributes:
        python: of Python.
        numpy: of numpy.
        torch: of torch on the CPU.
        devices: of torch on others, by name.
    """

    python: tuple[Any, ...]
    numpy: tuple[Any, ...]
    torch: Tensor
    devices: Mapping[str, Tensor]


def raw() -> Raw:
    """The states as they are now."""
    devices: dict[str, Tensor] = {}
    if torch.cuda.is_available():
        devices |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        devices["mps"] = torch.mps.get_rng_state()
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    return Raw(random.getstate(), state, torch.get_rng_state(), devices)


def capture() -> dict[str, Tensor]:
    """The states by name."""
    return tensors(raw())


def tensors(states: Raw) -> dict[str, Tensor]:
    """States by name."""
    _, words, gauss = states.python
    _, keys, place, has_gauss, cached = states.numpy
    return {
        "python.words": torch.tensor(words, dtype=torch.int64),
        "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy.words": torch.tensor(keys.astype(np.int64)),
        "numpy.place": torch.tensor([place, has_gauss], dtype=torch.int64),
        "numpy.gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": states.torch,
        **states.devices,
    }


def put_back(states: Raw) -> None:
    """Put states back that were taken in this process."""
    random.setstate(states.python)
    np.random.set_state(states.numpy)  # pyright: ignore[reportArgumentType]
    torch.set_rng_state(states.torch)
    for name, state in states.devices.items():
        if name == "mps":
            torch.mps.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, int(name.partition(".")[2]))


def restore(states: Mapping[str, Tensor]) -> None:
    """Put captured states back; those of devices that are not here are left out."""
    gauss = states["python.gauss"].tolist()
    random.setstate((3, tuple(states["python.words"].tolist()), gauss[0] if gauss else None))
    place, has_gauss = states["numpy.place"].tolist()
    words = states["numpy.words"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words, place, has_gauss, float(states["numpy.gauss"][0])))
    torch.set_rng_state(states["torch"])
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda.{index}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{index}"], index)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


def seed_all(seed: int) -> None:
    """Start every generator from ``seed``."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
