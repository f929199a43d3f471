"""The place between two updates, to which an update that is not finished is taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flexit.runtime.train.data.feed import Feed
from flexit.runtime.train.saving import random_state


@dataclass(frozen=True, slots=True)
class Mark:
    """What an update changes before it changes the weights.

    Attributes:
        position: of the loader.
        start: random states that its pass began with.
        random: random states.
        buffers: values that forward may write, such as running means; which of them it will cannot be known before.
            Copies of all are small: lowered modules have constants of some bytes alone, norms a few numbers a channel.
    """

    position: Mapping[str, Any]
    start: Mapping[str, Tensor]
    random: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    @staticmethod
    def of(feed: Feed, model: nn.Module | None = None) -> Mark:
        """The place where feed and model are; without a model no buffers."""
        position, start = feed.state()
        buffers = {} if model is None else {name: value.detach().clone() for name, value in model.named_buffers()}
        return Mark(position, start, random_state.capture(), buffers)

    @property
    def place(self) -> tuple[int, int]:
        """Passes completed, and batches taken in the next one."""
        return self.position["passes"], self.position["batches"]

    def put_back(self, model: nn.Module) -> None:
        """Give a model the buffers of this place, and no gradients."""
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in self.buffers.items():
                model.get_buffer(name).copy_(value)

    def go_back(self, feed: Feed) -> None:
        """Take the feed and the random states to this place. A loader that has no state is gone through again."""
        feed.load(self.position, self.start)
        random_state.restore(self.random)
