"""The training loop. What happens around it is in callbacks, what an update is in ``step``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flexit.errors import CheckpointError, UserError
from flexit.runtime.folder import locked
from flexit.runtime.train import checkpoint, optimizer_state, random_state
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.callbacks.checkpoints import Checkpoints
from flexit.runtime.train.callbacks.evaluation import Evaluation
from flexit.runtime.train.callbacks.metrics import Metrics
from flexit.runtime.train.callbacks.progress import ProgressBar
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.data.feed import Feed
from flexit.runtime.train.device import autocast, pick_device
from flexit.runtime.train.identity import MARKER as RUN
from flexit.runtime.train.loss import labelled
from flexit.runtime.train.schedule import factor, require_room
from flexit.runtime.train.signals import Signals
from flexit.runtime.train.step import Batch, LossFn, Step, accumulate, forward, update

Loader = Iterable[Batch]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        step: updates made, in all.
        tokens: labels learned from, in all.
        loss: of the last update; None if this call made none.
        validation_loss: of the last evaluation, if there was one.
        stopped_by: name of the signal that ended it early, or None.
        checkpoint: the newest checkpoint, if the run has a folder.
    """

    step: int
    tokens: int
    loss: float | None
    validation_loss: float | None
    stopped_by: str | None
    checkpoint: Path | None


class Trainer:
    """Trains any module whose ``forward`` takes a batch's entries by name.

    Attributes:
        model: on the device of the config.
        steps: the last step of the current call of :meth:`fit`.
        step: updates made.
        tokens: labels learned from.
        extras: text files that go into each checkpoint, by name (``tokenizer.json``, ...).
        newest: the newest checkpoint, if one was written or resumed from.
    """

    def __init__(  # noqa: PLR0917 (the signature that users of training libraries know)
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: LossFn, train_dataloader: Loader,
        val_dataloader: Loader | None = None, callbacks: Sequence[Callback] = (), config: TrainingConfig | None = None,
    ) -> None:  # fmt: skip
        """A trainer; nothing runs yet.

        Args:
            model: what to train. It is moved to the device of the config, with the optimizer's parameters.
            optimizer: over its parameters.
            loss_fn: ``loss_fn(outputs, batch)`` gives the mean over the batch's labelled tokens: a scalar, or
                scalars by name whose sum is minimised. With an attribute ``reads_aux`` that is true the model is
                called with ``aux=True``.
            train_dataloader: batches, each a mapping; all entries but ``labels`` go to the model by their names.
            val_dataloader: held-out batches, looked at as ``config.evaluate`` says.
            callbacks: the user's own.
            config: the rest; its defaults are those of a run config.

        Raises:
            UserError: FX1505 (evaluation without data, or data without evaluation), FX1702 (no such device).
        """
        self.config = config or TrainingConfig()
        if (self.config.evaluate is None) != (val_dataloader is None):
            raise _argument(
                "FX1505", "config.evaluate", expected="both config.evaluate and val_dataloader, or neither",
                found="only val_dataloader" if val_dataloader is not None else "only config.evaluate",
                cure="add evaluate=Evaluate(every=...) to the config, or leave val_dataloader out",
            )  # fmt: skip
        self.device = pick_device(self.config.device)
        self._autocast: Callable[[], Any] = lambda: autocast(self.device, self.config.precision)
        self._autocast()
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.out = None if self.config.out is None else Path(self.config.out)
        self.extras: dict[str, str] = {}
        self.step = self.steps = self.tokens = 0
        self.newest: Path | None = None
        self._feed = Feed(train_dataloader)
        self._validation = val_dataloader
        self._validation_loss: tuple[int, float] | None = None
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._resumed = False
        self.callbacks = [*self._standard(callbacks)]

    def fit(self, *, steps: int | None = None, epochs: int | None = None) -> Result:
        """Train up to a step, or for passes over the training data.

        Args:
            steps: updates in all, those before a resume included.
            epochs: passes in all, each of ``len(train_dataloader) // accumulate`` updates.

        Returns:
            How it ended. SIGINT and SIGTERM end it after the step at hand, with a checkpoint where there is a folder.

        Raises:
            UserError: FX1704 (not exactly one of the two), FX1701 (a number is not finite), FX1303 (someone else
                writes the folder), FX1302 (the folder holds another run; :meth:`resume` was not called).
        """
        self.steps = self._last_step(steps, epochs)
        require_room(self.config.schedule, self.steps)
        loss: float | None = None
        with ExitStack() as stack:
            signals = stack.enter_context(Signals())
            self._begin(stack)
            self.model.train()
            self._tell("start")
            while self.step < self.steps and signals.received is None:
                done = self._update()
                loss = done.loss
                self._tell("after_step", done)
            self._tell("end")
        last = None if self._validation_loss is None else self._validation_loss[1]
        return Result(self.step, self.tokens, loss, last, signals.received, self.newest)

    def _update(self) -> Step:
        """One update: gradients of the mean loss over all tokens of the micro-batches, the clip, the optimizer."""
        number, scale = self.step + 1, factor(self.config.schedule, self.step, self.steps)
        batches = [self._to_device(self._feed.next()) for _ in range(self.config.accumulate)]
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * scale
        self.optimizer.zero_grad(set_to_none=True)
        losses, tokens = accumulate(self.model, self.loss_fn, batches, autocast=self._autocast)
        norm = update(self.model, self.optimizer, losses=losses, clip_norm=self.config.clip_norm, number=number)
        self.step, self.tokens = number, self.tokens + tokens
        return Step(number, losses, norm, tokens, self.optimizer.param_groups[0]["lr"])

    @torch.no_grad()
    def evaluate(self, *, max_batches: int | None = None) -> dict[str, float]:
        """The mean of each loss term over the held-out labels, as ``validation_<name>``, in evaluation mode.

        Args:
            max_batches: only the first so many.

        Raises:
            UserError: FX1505, there is no ``val_dataloader``.
        """
        if self._validation is None:
            raise _argument(
                "FX1505", "val_dataloader", expected="a loader", found="None",
                cure="give the trainer a val_dataloader and config.evaluate",
            )  # fmt: skip
        self.model.eval()
        sums: dict[str, float] = {}
        total = 0
        for number, given in enumerate(self._validation):
            if max_batches is not None and number == max_batches:
                break
            batch = self._to_device(given)
            count = labelled(batch)
            with self._autocast():
                terms = forward(self.model, self.loss_fn, batch) if count else {}
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term) * count
            total += count
        self.model.train()
        metrics = {f"validation_{name}": value / total for name, value in sums.items()}
        self._validation_loss = (self.step, sum(metrics.values()))
        self._tell("after_evaluation", metrics)
        return metrics

    def save(self) -> Path:
        """Write a checkpoint of this step into the run folder, durably.

        Raises:
            UserError: FX1704, the trainer has no folder.
            ResourceError: FX1304, the disk refused; older checkpoints are whole.
        """
        folder = self._folder()
        self._tell("before_checkpoint")
        position, start = self._feed.state()
        tensors, settings = optimizer_state.pack(self.optimizer, self.model)
        fresh = self._validation_loss is not None and self._validation_loss[0] == self.step
        state = {
            "step": self.step, "tokens": self.tokens, "position": position, "optimizer": settings, "rates": self._rates,
            "validation_loss": self._validation_loss[1] if fresh and self._validation_loss else None,
            "callbacks": {type(each).__name__: each.state_dict() for each in self.callbacks},
        }  # fmt: skip
        random = {f"now/{k}": v for k, v in random_state.capture().items()} | {f"pass/{k}": v for k, v in start.items()}
        self.newest = checkpoint.save(folder, self.model, checkpoint.Contents(state, tensors, random, self._files()))
        self._tell("after_checkpoint", self.newest)
        return self.newest

    def resume(self) -> list[CheckpointError]:
        """Go on from the newest whole checkpoint of the run folder; from the beginning where there is none.

        Returns:
            Why newer checkpoints were passed over, if they were.

        Raises:
            CheckpointError: FX1202, it is of another model or optimizer; FX1201, all are damaged.
        """
        self._resumed = True
        folder = self._folder()
        with locked(folder.parent):
            checkpoint.tidy(folder)
            found = checkpoint.newest_whole(folder)
        if found is None:
            return []
        path, state, damaged = found
        tensors, random = checkpoint.read_tensors(path)
        checkpoint.load_weights(self.model, path)
        optimizer_state.unpack(self.optimizer, self.model, tensors=tensors, data=state["optimizer"])
        self._rates = list(state["rates"])
        self.step, self.tokens, self.newest = state["step"], state["tokens"], path
        if state["validation_loss"] is not None:
            self._validation_loss = (self.step, state["validation_loss"])
        for each in self.callbacks:
            each.load_state_dict(state["callbacks"].get(type(each).__name__, {}))
        self._feed.load(state["position"], _under(random, "pass/"))
        random_state.restore(_under(random, "now/"))
        return damaged

    def _begin(self, stack: ExitStack) -> None:
        """Take the folder, and start the random numbers of a new run."""
        if self.out is not None:
            folder = self._folder()
            self._require_own(self.out)
            stack.enter_context(locked(self.out))
            if self.step == 0 and not self._resumed and checkpoint.checkpoints(folder):
                raise _argument(
                    "FX1302", "config.out", expected="a new folder, or a call of resume()",
                    found=f"a run in {self.out}", cure="call trainer.resume() before fit(), or choose another folder",
                )  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
        stack.callback(self._tell, "close")
        if self.step == 0:
            random_state.seed_all(self.config.seed)

    def _require_own(self, out: Path) -> None:
        """A folder with something in it that is no run belongs to somebody else."""
        holds = {path.name for path in out.iterdir()} if out.is_dir() else set()
        if (out.exists() and not out.is_dir()) or (holds and not holds & {RUN, "checkpoints"}):
            raise _argument(
                "FX1302", "config.out", expected="a new or empty folder, or a run", found=f"{out}, which is neither",
                cure="choose another folder",
            )  # fmt: skip

    def _standard(self, own: Sequence[Callback]) -> Iterable[Callback]:
        """The callbacks of the config around those of the user, in the order that :class:`Callback` tells."""
        config = self.config
        if self.out is not None:
            yield Metrics(self.out, every=config.log.every)
        if config.progress:
            yield ProgressBar()
        if config.evaluate is not None:
            yield Evaluation(every=config.evaluate.every, max_batches=config.evaluate.max_batches)
        yield from own
        if self.out is not None:
            keep = config.checkpoint
            yield Checkpoints(every=keep.every, keep_last=keep.keep_last, keep_best=keep.keep_best)

    def _tell(self, occasion: str, *details: Any) -> None:
        for each in self.callbacks:
            getattr(each, occasion)(self, *details)

    def _folder(self) -> Path:
        if self.out is None:
            raise _argument(
                "FX1704", "config.out", expected="a run folder", found="None", cure="give TrainingConfig(out=...)"
            )
        return self.out / "checkpoints"

    def _files(self) -> dict[str, str]:
        from flexit.runtime.train.describe import spec_json

        spec = getattr(self.model, "spec", None)
        return dict(self.extras) if spec is None else {"spec.json": spec_json(spec), **self.extras}

    def _to_device(self, batch: Batch) -> Batch:
        return {name: value.to(self.device) if isinstance(value, Tensor) else value for name, value in batch.items()}

    def _last_step(self, steps: int | None, epochs: int | None) -> int:
        if (steps is None) == (epochs is None):
            raise _argument(
                "FX1704", "fit", expected="exactly one of steps and epochs", found="both" if steps else "neither",
                cure="give one",
            )  # fmt: skip
        if steps is not None:
            if type(steps) is not int or steps < 1:
                raise _argument(
                    "FX1704",
                    "fit.steps",
                    expected="an integer of at least 1",
                    found=repr(steps),
                    cure="give more steps",
                )
            return steps
        length = getattr(self._feed.loader, "__len__", None)
        if length is None:
            raise _argument(
                "FX1704", "fit.epochs", expected="a loader with a length", found="one without",
                cure="use fit(steps=...)",
            )  # fmt: skip
        updates = length() // self.config.accumulate
        if type(epochs) is not int or epochs < 1 or updates < 1:
            raise _argument(
                "FX1704", "fit.epochs",
                expected=f"at least 1, and a loader of {self.config.accumulate} or more batches",
                found=f"{epochs!r}, and a loader of {length()}", cure="give more epochs or data, or accumulate less",
            )  # fmt: skip
        return epochs * updates


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _argument(code: str, path: str, *, expected: str, found: str, cure: str) -> UserError:
    return UserError.of(code, "the trainer cannot do this", path=path, expected=expected, found=found, cure=cure)
