"""flexit: one spec, one model, proven. A transformer written once, as data; trained in PyTorch, run in ONNX Runtime."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load_spec": "flexit.ir.io.load",
    "Spec": "flexit.ir.spec",
    "Graph": "flexit.ir.builder",
    "cost": "flexit.ir.cost",
    "to_torch": "flexit.lower.torch.module",
    "to_onnx": "flexit.lower.onnx.model",
    "export": "flexit.runtime.export",
    "open_bundle": "flexit.runtime.bundle",
    "Trainer": "flexit.runtime.train.trainer",
    "TrainingConfig": "flexit.runtime.train.config",
}
"""Public name -> the module that defines it, imported when the name is first used."""

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flexit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
