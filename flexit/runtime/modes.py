"""The modes of a module: training, and evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards the module and each of its parts are in the mode that they were in."""
    whole, training = module.training, {part for part in module.modules() if part.training}
    if training:
        module.eval()
    try:
        yield
    finally:
        if training:
            module.train(whole)
            for part in module.modules():
                part.training = part in training
