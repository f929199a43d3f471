"""Several optimizers over different parameters as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Joined(torch.optim.Optimizer):
    """Optimizers that step together. Their groups and states are the groups and states of this one.

    Attributes:
        parts: the optimizers.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        """One optimizer of several.

        Args:
            parts: over different parameters.
        """
        self.parts = tuple(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Let the parts have the groups and the state of the whole."""
        left = list(self.param_groups)
        for part in self.parts:
            count = len(part.param_groups)
            part.param_groups, left = left[:count], left[count:]
            part.state = self.state

    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Let each step once; there is no closure."""
        assert closure is None
        for part in self.parts:
            part.step()
