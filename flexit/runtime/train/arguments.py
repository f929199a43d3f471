"""What a trainer is given: refused, before anything runs, where it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flexit.errors import UserError
from flexit.runtime.metric import LOSS
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.policies.rollback import Rollback
from flexit.runtime.train.saving.checkpoint import may_be_run
from flexit.runtime.train.saving.saved_steps import checkpoints


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


def require_held_out(config: TrainingConfig, loader: object) -> None:
    """Raise where there is only one of held-out data and evaluation, or something without effect for want of them.

    Raises:
        UserError: FX1505, FX1531 (early stopping, what is best), FX1509 (checkpoints that would be kept).
    """
    if (config.evaluate is None) != (loader is None):
        raise refused(
            "FX1505", "config.evaluate", expected="both config.evaluate and val_dataloader, or neither",
            found="only val_dataloader" if loader is not None else "only config.evaluate",
            cure="add evaluate=Evaluate(every=...) to the config, or leave val_dataloader out",
        )  # fmt: skip
    if config.early_stopping is not None and loader is None:
        raise refused(
            "FX1531", "config.early_stopping", expected="a val_dataloader, and config.evaluate", found="neither",
            cure="give both, or leave early_stopping out",
        )  # fmt: skip
    _require_kept(config)


def _require_kept(config: TrainingConfig) -> None:
    """Raise where no checkpoint is the best, or falls on the steps that are kept."""
    keep, evaluate = config.checkpoint, config.evaluate
    if keep.best != LOSS and not keep.keep_best:
        raise refused(
            "FX1531", "config.checkpoint.best", expected="keep_best of 1 or more, without which it has no effect",
            found="0", cure="add keep_best, or leave best out",
        )  # fmt: skip
    if keep.keep_best and evaluate is None:
        raise refused(
            "FX1509", "config.checkpoint.keep_best", expected="a val_dataloader, and config.evaluate",
            found="neither", cure="give both, or leave keep_best out",
        )  # fmt: skip
    if keep.keep_best and evaluate is not None and keep.every % evaluate.every:
        raise refused(
            "FX1509", "config.checkpoint.every", found=str(keep.every),
            expected=f"a multiple of config.evaluate.every, {evaluate.every}, by which the best are told",
            cure=f"write {max(1, keep.every // evaluate.every) * evaluate.every}, or leave keep_best out",
        )  # fmt: skip
    if keep.keep_every is not None and keep.keep_every % keep.every:
        raise refused(
            "FX1509", "config.checkpoint.keep_every", found=str(keep.keep_every),
            expected=f"a multiple of checkpoint.every, {keep.every}",
            cure=f"write {max(1, keep.keep_every // keep.every) * keep.every}, or leave it out",
        )  # fmt: skip


def require_validation(loader: Iterable[Any] | None) -> Iterable[Any]:
    """The loader of held-out batches.

    Raises:
        UserError: FX1505, there is none.
    """
    if loader is None:
        raise refused(
            "FX1505", "val_dataloader", expected="a loader", found="None",
            cure="give the trainer a val_dataloader and config.evaluate",
        )  # fmt: skip
    return loader


def require_new(out: Path) -> None:
    """Raise where a folder holds a run with checkpoints.

    Raises:
        UserError: FX1302.
    """
    if checkpoints(out / "checkpoints"):
        raise refused(
            "FX1302", "config.out", expected="a new folder, or a call of resume()", found=f"a run in {out}",
            cure="call trainer.resume() before fit(), or choose another folder",
        )  # fmt: skip


def require_own(out: Path) -> None:
    """Raise where a folder has something in it that is no run: it belongs to somebody else.

    Raises:
        UserError: FX1302.
    """
    if not may_be_run(out):
        raise refused(
            "FX1302", "config.out", expected="a new or empty folder, or a run", found=f"{out}, which is neither",
            cure="choose another folder",
        )  # fmt: skip


def require_way_back(config: TrainingConfig) -> None:
    """Raise where a run that may go back has no folder with checkpoints.

    Raises:
        UserError: FX1704.
    """
    if isinstance(config.non_finite, Rollback) and config.out is None:
        raise refused(
            "FX1704", "config.non_finite", expected="a run folder, whose checkpoints a rollback goes back to",
            found="out: None", cure="give TrainingConfig(out=...), or write non_finite: skip",
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


def require_watchable(config: TrainingConfig) -> None:
    """Raise where what is to be watched has no folder, or cannot be seen.

    Raises:
        UserError: FX1532.
    """
    for name in ("track", "statistics"):
        if getattr(config, name) and config.out is None:
            raise refused(
                "FX1532", f"config.{name}", expected="a run folder", found="None", cure="give TrainingConfig(out=...)"
            )
    if config.statistics is not None and config.compile is not None:
        raise refused(
            "FX1532", "config.statistics", expected="compile=None, since compiled code shows nothing of what is inside",
            found=f"compile={config.compile!r}", cure="leave one of them out",
        )  # fmt: skip


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


def steps_left(loader: object, epochs: int, *, place: tuple[int, int], accumulate: int) -> int:
    """Updates until the end of a pass; the last one of each pass has the batches that are left.

    Args:
        loader: of the training data.
        epochs: passes in all.
        place: passes completed, and batches taken in the next one.
        accumulate: batches per update.

    Raises:
        UserError: FX1704, as :func:`require_passes` says.
    """
    count, (passes, batches) = require_passes(loader, accumulate=accumulate), place
    left = -(-max(0, count - batches) // accumulate) + (epochs - passes - 1) * -(-count // accumulate)
    return max(0, left)
