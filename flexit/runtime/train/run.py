"""A run config carried out, from its text to the last checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from flexit.errors import CheckpointError, UserError
from flexit.files.folder import HALF, locked, write_file
from flexit.files.ours import is_ours
from flexit.ir.language.layers import as_written
from flexit.ir.language.written import Node
from flexit.ir.program import Program
from flexit.lower.torch.memory import require_memory
from flexit.runtime.status import stages
from flexit.runtime.train.beginning import first_module, first_weights, require_origin
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.callbacks.starts import Starts
from flexit.runtime.train.config import RunConfig, TrainingConfig
from flexit.runtime.train.data.loader import Loader
from flexit.runtime.train.data.material import SHARED, Material, files_of, find_material
from flexit.runtime.train.data.showing import showing
from flexit.runtime.train.data.store import OnProgress
from flexit.runtime.train.describe import config_data, to_yaml
from flexit.runtime.train.evaluation.judging import judge_of
from flexit.runtime.train.evaluation.sampling import samples_of
from flexit.runtime.train.logbook import entry, write_cost
from flexit.runtime.train.model import Model, find_model
from flexit.runtime.train.optimisation.optim import make_optimizer
from flexit.runtime.train.read import read_config
from flexit.runtime.train.resources.device import autocast, make_scaler, pick_device
from flexit.runtime.train.resources.disk import checkpoint_bytes, require_disk, start_bytes
from flexit.runtime.train.resources.launch import launched, outliving
from flexit.runtime.train.resources.memory import training_memory
from flexit.runtime.train.resources.signals import interruptible
from flexit.runtime.train.saving import checkpoint
from flexit.runtime.train.saving.identity import (
    MARKER,
    have_same_shapes,
    identity,
    read_identity,
    require_same,
    with_specs,
    write_identity,
)
from flexit.runtime.train.saving.saved_steps import step_of
from flexit.runtime.train.trainer import Result, Trainer
from flexit.runtime.train.update.loss import RoutedLoss, router_masks
from flexit.runtime.train.update.preparing import require_compiler
from flexit.runtime.train.update.ranks import Ranks, join
from flexit.runtime.train.update.shared import require_shares
from flexit.runtime.train.update.step import LossFn


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that has passed every check which needs no data.

    Attributes:
        config: what the user wrote.
        root: the tree it came from.
        base: folder that its paths are relative to.
        model: what is trained.
        device: where.
        shared: folder with the encoded data, where the run shares it with others (see :func:`share`).
    """

    config: RunConfig
    root: Node
    base: Path
    model: Model
    device: torch.device
    shared: Path | None = None

    @property
    def out(self) -> Path:
        """The run folder."""
        return self.base / self.config.out

    @property
    def store(self) -> Path:
        """The folder that the encoded data lies in."""
        return self.out if self.shared is None else self.shared


def train(
    config_path: str | Path, *, resume: bool = True, allow_changed: bool = False, allow_memory: bool = False,
    allow_disk: bool = False, sets: Sequence[str] = (), callbacks: Sequence[Callback] = (), progress: bool = True,
    shared: Path | None = None,
) -> Result:  # fmt: skip
    """Carry out a run config. A run that is in the folder already goes on; of one that is finished nothing is touched.

    Args:
        config_path: the file.
        resume: go on with a run in the folder; otherwise one there is an error.
        allow_changed: go on although spec, run config, tokenizer, data, threads or device have changed.
        allow_memory: start although the predicted memory is not there.
        allow_disk: start although the disk has no room for what is predicted.
        sets: overrides of the run config, such as ``steps=200``.
        callbacks: the user's own.
        progress: show what is done.
        shared: folder with the encoded data, made by :func:`share`.

    Raises:
        UserError: anything in the table of ``docs/run-config.md``.
        KeyboardInterrupt: SIGINT came before the first step; later it ends the run as :meth:`Trainer.fit` says.
    """
    progress = progress and launched().rank == 0
    with interruptible(), stages(f"reading {config_path}", shown=progress):
        plan = replace(make_plan(config_path, sets=sets, allow_memory=allow_memory), shared=shared)
    ranks = join(plan.device)
    with _threads(plan.config.threads):
        with interruptible(), showing(progress) as on_progress:
            material = _begun(
                plan, ranks, resume=resume, allow_changed=allow_changed, allow_disk=allow_disk, on_progress=on_progress
            )
        if isinstance(material, Result):
            return _said(material, plan, progress=progress)
        with entry(plan.out, seed=plan.config.seed, device=plan.device) as start:
            with interruptible(), stages("building the model", shown=progress):
                trainer = make_trainer(plan, material, callbacks=callbacks, progress=progress)
                damaged = trainer.resume(allow_changed=True)  # what is compared above has all of it
                for passed_over in damaged if ranks.leads else ():
                    Console(stderr=True).print(Text(f"a damaged checkpoint was passed over: {passed_over}"))
            start.begin(trainer.step)
            with outliving():
                result = trainer.fit(steps=plan.config.steps)
            start.end(result)
        return result


def _begun(
    plan: Plan, ranks: Ranks, *, resume: bool, allow_changed: bool, allow_disk: bool, on_progress: OnProgress | None
) -> Material | Result:  # fmt: skip
    """The data in the run folder, or how the run in there ended, if it is finished. The first process makes it."""
    made: list[Material] = []

    def make() -> Result | None:
        with locked(plan.out):
            _claim(plan, resume=resume)
            finished = _finished(plan)
            if finished is None:
                made.append(prepare(plan, allow_changed=allow_changed, allow_disk=allow_disk, on_progress=on_progress))
                write_cost(plan.out, plan.model.program, plan.config)
            elif not allow_changed:
                _examined(plan, on_progress=on_progress)
            return finished

    return ranks.led(make) or (made[0] if made else _found(plan, began=True))


def make_plan(config_path: str | Path, *, sets: Sequence[str] = (), allow_memory: bool = False) -> Plan:
    """Read a run config and check all that needs neither data nor memory.

    Raises:
        UserError: a field, the model, the device, the precision, the predicted memory, or the number of processes.
    """
    config, root = read_config(config_path, sets=sets)
    base = Path(config_path).absolute().parent
    model = find_model(config, root, base)
    require_origin(config, root, base=base, model=model)
    device, launch = pick_device(config.device), launched()
    require_shares(launch.count, accumulate=config.batch.accumulate, size=config.batch.size)
    autocast(device, config.precision)
    make_scaler(device, config.precision)
    if config.compile is not None:
        require_compiler(device)
    needed = training_memory(model.program, config) * (launch.beside if device.type == "cpu" else 1)
    require_memory(
        needed, what="training", cure="lower batch.size or data.seq_len, and raise batch.accumulate instead",
        device=device, allow=allow_memory,
    )  # fmt: skip
    return Plan(config, root, base, model, device)


def prepare(
    plan: Plan, *, allow_changed: bool = False, allow_disk: bool = False, on_progress: OnProgress | None = None
) -> Material:
    """Tokenizers and encoded data in the run folder, made or found there; and the folder's notes on what the run is.

    Raises:
        UserError: the data, the tokenizer, or FX1202: the run in the folder began with something else.
        ResourceError: FX1710, the disk has no room for the data and the checkpoints.
    """
    material, now = _examined(plan, allow_changed=allow_changed, on_progress=on_progress)
    require_disk(
        plan.out, each=checkpoint_bytes(plan.model.program, plan.config), keep=plan.config.checkpoint,
        steps=plan.config.steps, start=start_bytes(plan.model.program, plan.config, plan.out),
        data=material.to_encode(plan.store), allow=allow_disk,
    )  # fmt: skip
    material.examples(plan.store, on_progress)
    write_file(plan.out / "config.yaml", to_yaml(absolute(plan.config, plan.base)))
    write_file(plan.out / "spec.yaml", to_yaml(as_written(plan.model.spec)))
    write_identity(plan.out, now)
    return material


def share(plan: Plan, *, on_progress: OnProgress | None = None) -> Material:
    """Tokenizers and encoded data in the folder that a plan shares, made or found there, for runs to come.

    Raises:
        UserError: the data or the tokenizer.
    """
    folder = plan.store
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        material = _found(plan, began=False, on_progress=on_progress)
        material.examples(folder, on_progress)
        write_identity(folder, {"config": config_data(plan.config)}, SHARED)
    return material


def _examined(
    plan: Plan, *, allow_changed: bool = False, on_progress: OnProgress | None = None
) -> tuple[Material, dict[str, Any]]:
    """The data, and what the run is; compared with what it began with, and nothing is written.

    Raises:
        UserError: the data, the tokenizer, or FX1202: the run in the folder began with something else.
    """
    found = checkpoint.checkpoints(plan.out / "checkpoints")
    before = read_identity(plan.out) if found else None
    material = _found(plan, began=before is not None or plan.shared is not None, on_progress=on_progress)
    now = identity(
        plan.model.spec, plan.config, tokenizer=material.tokenizers, data=material.fingerprint, device=plan.device
    )
    if before is not None and not allow_changed:
        _require_same(plan, found[-1] / "spec.json", before=before, now=now)
    return material, now


def _found(plan: Plan, *, began: bool, on_progress: OnProgress | None = None) -> Material:
    return find_material(
        plan.config, plan.root, base=plan.base, out=plan.store, program=plan.model.program, began=began,
        on_progress=on_progress,
    )  # fmt: skip


def _require_same(plan: Plan, spec: Path, *, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse a run that began with something else; ``spec`` is that of its newest checkpoint.

    Raises:
        CheckpointError: FX1202, with every difference.
    """
    old, new = with_specs(before, now, spec=plan.model.spec, file=spec)
    fits = not isinstance(old.get("spec"), dict) or have_same_shapes(old["spec"], plan.model.spec)
    require_same(plan.out, old, new, how="--allow-changed" if fits else None)


def _finished(plan: Plan) -> Result | None:
    """How the run in the folder ended, if it has made all its steps and its last checkpoint is whole."""
    folder = plan.out / "checkpoints"
    checkpoint.tidy(folder)
    newest = checkpoint.latest(folder)
    if newest is None or step_of(newest) < plan.config.steps:
        return None
    try:
        state = checkpoint.read_state(newest)
    except CheckpointError:
        return None
    return Result(state["step"], state["tokens"], None, state["validation_loss"], None, newest)


def _said(finished: Result, plan: Plan, *, progress: bool) -> Result:
    if progress:
        done = f"step {finished.step} of {plan.config.steps} is done already; nothing to train"
        Console(stderr=True).print(Text(done))
    return finished


def make_trainer(
    plan: Plan, material: Material, *, callbacks: Sequence[Callback] = (), progress: bool = True
) -> Trainer:
    """The trainer that a run config means.

    Raises:
        UserError: FX1603, too little data.
        RunConfigError: FX1530, a metric does not go with the classes of the data; FX1532, a prompt has no room.
    """
    config = plan.config
    judge = judge_of(config, plan.root, material.setting)
    data, size = config.data, config.batch.size
    training, held_out = material.examples(plan.store)
    samples = samples_of(config, plan.root, material.setting, out=plan.out)
    batches = Loader(training, batch_size=size, seed=config.seed, bucket=data.bucket, workers=data.workers)
    validation = None if held_out is None else Loader(held_out, batch_size=size, what="validation")
    files = dict(files_of(material))
    tell = _tell if progress else None
    weights = first_weights(config, plan.model, base=plan.base, files=files, tell=tell, ranks=join(plan.device))
    module = first_module(config, plan.model, weights, base=plan.base, device=plan.device)
    trainer = Trainer(
        module, make_optimizer(module, plan.model.program, config.optimizer),
        loss_of(config, plan.model.program), batches, validation, [*samples, *callbacks],
        TrainingConfig(
            accumulate=config.batch.accumulate, schedule=config.schedule, clip_norm=config.clip_norm,
            clip_value=config.clip_value, ema=config.ema, non_finite=config.non_finite,
            precision=config.precision, compile=config.compile, recompute=config.recompute,
            device=config.device, checkpoint=config.checkpoint,
            evaluate=None if config.evaluate is None else config.evaluate.model_copy(update={"metrics": None}),
            early_stopping=config.early_stopping, limit=config.limit, track=config.track, statistics=config.statistics,
            log=config.log, seed=config.seed, out=str(plan.out), progress=progress,
        ),
    )  # fmt: skip
    trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, Starts)]  # train notes it
    trainer.judge = judge
    trainer.allow_disk = True  # what is predicted was asked for, or allowed not to be there
    trainer.extras = files
    return trainer


def loss_of(config: RunConfig, program: Program) -> LossFn:
    """What a run config minimises, whose routers are masked as their model reads tokens."""
    loss_fn = config.task.loss(config.losses)
    if isinstance(loss_fn, RoutedLoss):
        loss_fn.masks = router_masks(program)
    return loss_fn


def _tell(line: str) -> None:
    Console(stderr=True).print(Text(line), soft_wrap=True)


def _claim(plan: Plan, *, resume: bool) -> None:
    """Make the run folder ours.

    Raises:
        UserError: FX1302 it holds something else, FX1301 it holds a run and none was expected.
    """
    out = plan.out
    half = f"{MARKER}{HALF}"  # of a start that was killed
    holds = sorted(path.name for path in out.iterdir() if not path.name.startswith(half)) if out.is_dir() else []
    if (holds and not is_ours(out, MARKER)) or (out.exists() and not out.is_dir()):
        raise UserError.of(
            "FX1302", f"{out} is no run folder", path="out", expected="a new or empty folder, or a run",
            found=", ".join(holds[:3]) or "a file", cure="choose another out",
        )  # fmt: skip
    if holds and not resume:
        raise UserError.of(
            "FX1301", f"{out} holds a run", path="out", expected="a new or empty folder", found="a run",
            cure="choose another out, or let the run go on",
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    if not holds:
        write_file(out / MARKER, json.dumps({"flexit": 1}))


def absolute(config: RunConfig, base: Path) -> dict[str, Any]:
    """A run config as plain data that means the same wherever it lies; ``base`` is where its paths are from."""
    data = config_data(config)
    if (base / data["model"]).exists():
        data["model"] = str(base / data["model"])
    for part in ("data", "task", "weights_from"):
        data[part] = _absolute(data[part], base)
    return data | {"out": str(base / config.out)}


def _absolute(value: Any, base: Path) -> Any:
    """Plain data with the paths of files and folders in it absolute."""
    if isinstance(value, list):
        return [_absolute(each, base) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _absolute(each, base) for key, each in value.items()}
    if "files" in found:
        found["files"] = [str(base / pattern) for pattern in found["files"]]
    if "path" in found:
        found["path"] = str(base / found["path"])
    return found


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
