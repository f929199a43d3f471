"""What a trainer is given: refused, before anything runs, where it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from flexit.errors import UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.config import TrainingConfig


def refused(code: str, path: str, *, expected: str, found: str, cure: str) -> UserError:
    """The error of an argument."""
    return UserError.of(code, "the trainer cannot do this", path=path, expected=expected, found=found, cure=cure)


def article(value: object) -> str:
    """What a value is, for messages: ``a tuple of 2``, ``a float, 0.5``, ``the class Adam``."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    head = f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
    if isinstance(value, bool | int | float):
        return f"{head}, {value}"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {list(value.shape)}"
    return f"{head} of {len(value)}" if isinstance(value, list | tuple | dict | str) else head


def settings_of(config: object) -> TrainingConfig:
    """The training config that was given: an object, a mapping of its fields, or nothing.

    Raises:
        UserError: FX1704, it is something else.
        RunConfigError: a field of the mapping is wrong.
    """
    if isinstance(config, TrainingConfig):
        return config
    if config is None:
        return TrainingConfig()
    if isinstance(config, Mapping) and all(isinstance(key, str) for key in config):
        return TrainingConfig(**{str(key): value for key, value in config.items()})
    raise refused(
        "FX1704", "config", expected="a TrainingConfig, or a mapping of its fields", found=article(config),
        cure="write config=TrainingConfig(...)",
    )  # fmt: skip


def require_parts(*, model: object, optimizer: object, loss_fn: object, loaders: Mapping[str, object]) -> None:
    """Raise unless each part can be what it is given as.

    Raises:
        UserError: FX1704.
    """
    if not isinstance(model, nn.Module):
        raise refused(
            "FX1704", "model", expected="an nn.Module", found=article(model),
            cure="give the module, such as flexit.to_torch(spec)",
        )  # fmt: skip
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise refused(
            "FX1704", "optimizer", expected="a torch.optim.Optimizer", found=article(optimizer),
            cure="write torch.optim.AdamW(model.parameters(), lr=1e-3)",
        )  # fmt: skip
    _require_parameters(model, optimizer)
    if isinstance(loss_fn, type) or not callable(loss_fn):
        raise refused(
            "FX1704", "loss_fn", expected="a function of outputs and batch", found=article(loss_fn),
            cure="give a function, or an object such as CrossEntropy()",
        )  # fmt: skip
    for name, loader in loaders.items():
        if isinstance(loader, str | type) or (not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__")):
            raise refused(
                "FX1704", name, expected="an iterable of batches", found=article(loader),
                cure="give a list of batches or a DataLoader",
            )  # fmt: skip


def _require_parameters(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """An optimizer moves parameters of the model: some or all of them, and no others."""
    own = {id(parameter) for parameter in model.parameters()}
    foreign = [
        f"parameter {index} of group {number}, of shape {list(parameter.shape)}"
        for number, group in enumerate(optimizer.param_groups)
        for index, parameter in enumerate(group["params"])
        if id(parameter) not in own
    ]
    optimised = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    cure = "make the optimizer from the parameters of this very model, after any copy or conversion of it"
    if foreign:
        more = f", and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise refused(
            "FX1704", "optimizer", expected="parameters of the model alone",
            found=f"{len(foreign)} of {len(optimised)} that the model does not have: {'; '.join(foreign[:3])}{more}",
            cure=cure,
        )  # fmt: skip
    if not any(parameter.requires_grad for parameter in optimised):
        raise refused(
            "FX1704", "optimizer", expected="parameters that learn (requires_grad)",
            found=f"none among {len(optimised)}", cure=cure,
        )  # fmt: skip


def require_callbacks(callbacks: object) -> list[Callback]:
    """The user's callbacks.

    Raises:
        UserError: FX1704, it is no sequence of them.
    """
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise refused(
            "FX1704", "callbacks", expected="a list of Callback objects", found=article(callbacks),
            cure="write callbacks=[...]",
        )  # fmt: skip
    given = list(callbacks)
    for index, each in enumerate(given):
        if not isinstance(each, Callback):
            raise refused(
                "FX1704", f"callbacks[{index}]", expected="an object of a subclass of Callback", found=article(each),
                cure=f"write {each.__name__}()" if isinstance(each, type) else "derive its class from Callback",
            )  # fmt: skip
    return given


def require_steps(steps: int | None, epochs: int | None) -> None:
    """Raise unless exactly one of the two is given, and is a count.

    Raises:
        UserError: FX1704.
    """
    if (steps is None) == (epochs is None):
        raise refused(
            "FX1704", "fit", expected="exactly one of steps and epochs",
            found="neither" if steps is None else "both", cure="give one",
        )  # fmt: skip
    name, count = ("steps", steps) if steps is not None else ("epochs", epochs)
    if type(count) is not int or count < 1:
        raise refused(
            "FX1704", f"fit.{name}", expected="an integer of at least 1", found=repr(count), cure=f"give more {name}"
        )


def batches_per_pass(loader: object) -> int | None:
    """How many batches a loader says that it has, or None where it does not."""
    try:
        return len(loader)  # pyright: ignore[reportArgumentType]
    except (TypeError, NotImplementedError):
        return None


def require_passes(loader: object, *, accumulate: int) -> int:
    """The batches per pass of a loader that has passes.

    Raises:
        UserError: FX1704, it has no length, can be gone through only once, or is shorter than an update.
    """
    once, count = isinstance(loader, Iterator), batches_per_pass(loader)
    if once or count is None:
        what = f"{article(loader)}, which is exhausted after one pass" if once else f"{article(loader)} without one"
        raise refused(
            "FX1704", "fit.epochs", expected="a loader with a length, that can be gone through again for each pass",
            found=what, cure="use fit(steps=...), or give a list of batches or a DataLoader",
        )  # fmt: skip
    if count < accumulate:
        raise refused(
            "FX1704", "fit.epochs", expected=f"a loader of {accumulate} or more batches, those of one update",
            found=f"a loader of {count}", cure="give more data, or accumulate less",
        )  # fmt: skip
    return count
