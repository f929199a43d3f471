"""Every random state that training may draw from, as plain tensors: Python, numpy, torch on each device."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def capture() -> dict[str, Tensor]:
    """The states by name."""
    _, words, gauss = random.getstate()
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    _, keys, place, has_gauss, cached = state
    states = {
        "python.words": torch.tensor(words, dtype=torch.int64),
        "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy.words": torch.tensor(keys.astype(np.int64)),
        "numpy.place": torch.tensor([place, has_gauss], dtype=torch.int64),
        "numpy.gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


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
