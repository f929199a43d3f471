"""A micro-batch run once more with an eye on every block: where the first number that is not finite comes from.

Nothing that a run goes on with is changed: weights, gradients, buffers and random states are as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from flexit.runtime.train.failures.numbers import Numbers, is_sound, numbers_of, tensors_in
from flexit.runtime.train.update.step import Autocast, Batch, LossFn, forward

Where = Literal["weights", "batch", "forward", "loss", "backward", "sum"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The first place where a number is not finite.

    Attributes:
        where: in the weights, the batch, a forward, the loss, a backward, or only the sum of gradients.
        path: of the block or parameter, or the name of an entry of the batch or a term of the loss.
        what: the same in words.
        numbers: of the tensor.
        micro_batch: which one of the update, from 0; None where it is none alone.
    """

    where: Where
    path: str
    what: str
    numbers: Numbers
    micro_batch: int | None = None

    def data(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "where": self.where, "path": self.path, "what": self.what, "numbers": self.numbers.data(),
            "micro_batch": self.micro_batch,
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.what} ({self.numbers})"


@dataclass(slots=True)
class Trace:
    """What was seen of one micro-batch.

    Attributes:
        losses: terms by name.
        outputs: of each call of a block, in order of execution; further ones of a call as ``path[1]``.
        gradients: that reached these outputs, in the order of backward.
        first: the first place with a number that is not finite.
    """

    losses: dict[str, float] = field(default_factory=dict[str, float])
    outputs: list[tuple[str, Numbers]] = field(default_factory=list[tuple[str, Numbers]])
    gradients: list[tuple[str, Numbers]] = field(default_factory=list[tuple[str, Numbers]])
    first: Finding | None = None


def first_in_weights(model: nn.Module) -> Finding | None:
    """The first parameter, in the model's order, with a value that is not finite."""
    for name, parameter in model.named_parameters():
        if not is_sound(parameter):
            return Finding("weights", name, f"the values of {name}", numbers_of(parameter))
    return None


def watched(
    model: nn.Module, loss_fn: LossFn, batch: Batch, *, share: float, scale: float, autocast: Autocast,
    everything: bool = False,
) -> Trace:  # fmt: skip
    """Run a micro-batch forward and, where all is finite, backward; gradients are added to those that are there.

    Args:
        model: in the mode of the run.
        loss_fn: its loss.
        batch: the micro-batch.
        share: of the update's labels that it has, by which the loss is weighted.
        scale: factor on the loss.
        autocast: the context of the forward.
        everything: keep the figures of every block, and go backward in any case.
    """
    watch = _Watch(everything)
    for name, value in batch.items():
        for each in tensors_in(value):
            watch.see(each, "batch", name, what=f"the entry {name} of the batch")
    with watch.on(model), torch.enable_grad():
        with autocast():
            terms = forward(model, loss_fn, batch)
            loss = torch.stack([term * share for term in terms.values()]).sum()
        for name, term in terms.items():
            called = "the loss" if name == "loss" else f"the loss {name}"
            watch.see(term, "loss", name, what=f"{called}, of outputs that are finite")
        watch.trace.losses = {name: float(term.detach()) for name, term in terms.items()}
        if (everything or watch.trace.first is None) and loss.requires_grad:
            watch.backwards = True
            (loss * scale).backward()
    return watch.trace


class _Watch:
    """Hooks on every module and parameter of a model."""

    def __init__(self, everything: bool) -> None:
        self.trace = Trace()
        self.backwards = False
        self._everything = everything
        self._inside: list[str] = []
        self._last = "the loss"

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[None]:
        """Watch a model; compiled code, which calls no hooks, is left aside."""
        with ExitStack() as stack:
            for path, module in model.named_modules():
                stack.enter_context(_uncompiled(module))
                self._hook(stack, module.register_forward_pre_hook(self._entered(path), with_kwargs=True))
                self._hook(stack, module.register_forward_hook(self._left(path)))
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    what = f"the gradient of {name}"
                    self._hook(stack, parameter.register_hook(self._gradient(name, what)))
            yield

    def see(self, tensor: Tensor, where: Where, path: str, *, what: str) -> None:
        """Note a tensor where it is the first that is not finite."""
        if self.trace.first is None and not is_sound(tensor):
            self.trace.first = Finding(where, path, what, numbers_of(tensor))

    @staticmethod
    def _hook(stack: ExitStack, handle: RemovableHandle) -> None:
        stack.callback(handle.remove)

    def _entered(self, path: str) -> Any:
        def hook(module: nn.Module, given: Any, named: Mapping[str, Any]) -> None:
            del module
            if not self.backwards:
                around = self._inside[-1] if self._inside else None
                for each in tensors_in([*given, dict(named)]) if around is not None else []:
                    block = f"block {around}" if around else "the model"
                    self.see(each, "forward", around or "", what=f"what {block} itself computes, before {path}")
                self._inside.append(path)

        return hook

    def _left(self, path: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            del module, given
            if self.backwards:  # a layer that is computed again
                return
            self._inside.pop()
            of = f"block {path}" if path else "the model"
            for number, each in enumerate(tensors_in(output)):
                label = f"{path}[{number}]" if number else path
                self.see(each, "forward", path, what=f"the output of {of}")
                if self._everything:
                    self.trace.outputs.append((label, numbers_of(each)))
                if each.requires_grad:
                    what = f"the gradient that reaches the output of {of}"
                    each.register_hook(self._gradient(path, what, label=label))

        return hook

    def _gradient(self, path: str, what: str, *, label: str | None = None) -> Any:
        def hook(gradient: Tensor) -> None:
            self.see(gradient, "backward", path, what=f"{what}, while that of {self._last} was finite")
            self._last = path or self._last
            if label is not None and self._everything:
                self.trace.gradients.append((label, numbers_of(gradient)))

        return hook


@contextmanager
def _uncompiled(module: nn.Module) -> Iterator[None]:
    compiled: Any = getattr(module, "_compiled_call_impl", None)
    module._compiled_call_impl = None  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        module._compiled_call_impl = compiled  # pyright: ignore[reportAttributeAccessIssue]
