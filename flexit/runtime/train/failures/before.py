"""What a forward changes, as it was before: random states and buffers. Cheap enough for every update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flexit.runtime.train.saving import random_state


@dataclass(frozen=True, slots=True)
class Before:
    """The state in front of a forward.

    Attributes:
        random: random states.
        buffers: values that forward may write, such as running means.
    """

    random: random_state.Raw
    buffers: Mapping[str, Tensor]

    @staticmethod
    def of(model: nn.Module) -> Before:
        """As it is now."""
        return Before(
            random_state.raw(), {name: value.detach().clone() for name, value in model.named_buffers()}
        )  # fmt: skip

    def put_back(self, model: nn.Module) -> None:
        """Give a model its buffers back."""
        with torch.no_grad():
            for name, value in self.buffers.items():
                model.get_buffer(name).copy_(value)
