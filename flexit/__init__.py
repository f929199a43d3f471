"""flexit: one spec, one model, proven. A transformer written once, as data; trained in PyTorch, run in ONNX Runtime."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexit.ir.analysis.cost import cost
    from flexit.ir.builder import Graph
    from flexit.ir.io.load import load_spec
    from flexit.ir.shrink import shrink
    from flexit.ir.spec import Spec
    from flexit.lower.onnx.model import to_onnx
    from flexit.lower.torch.module import to_torch
    from flexit.runtime.bundle import open_bundle
    from flexit.runtime.export import export
    from flexit.runtime.train.config import TrainingConfig
    from flexit.runtime.train.trainer import Trainer

__version__ = "0.1.0"

__all__ = [
    "Graph",
    "Spec",
    "Trainer",
    "TrainingConfig",
    "cost",
    "export",
    "load_spec",
    "open_bundle",
    "shrink",
    "to_onnx",
    "to_torch",
]

_HOMES = {
    "load_spec": "flexit.ir.io.load",
    "Spec": "flexit.ir.spec",
    "Graph": "flexit.ir.builder",
    "cost": "flexit.ir.analysis.cost",
    "shrink": "flexit.ir.shrink",
    "to_torch": "flexit.lower.torch.module",
    "to_onnx": "flexit.lower.onnx.model",
    "export": "flexit.runtime.export",
    "open_bundle": "flexit.runtime.bundle",
    "Trainer": "flexit.runtime.train.trainer",
    "TrainingConfig": "flexit.runtime.train.config",
}
"""Public name -> the module that defines it, imported when the name is first used."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flexit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
