"""The training loop. What happens around it is in callbacks, what an update is in ``step``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flexit.errors import CheckpointError
from flexit.runtime.adapters.folder import note_of
from flexit.runtime.train.arguments import (
    batches_per_pass,
    refused,
    require_callbacks,
    require_held_out,
    require_parts,
    require_steps,
    require_validation,
    require_watchable,
    require_way_back,
    settings_of,
    steps_left,
)
from flexit.runtime.train.callbacks.callback import Callback, keyed, state_of
from flexit.runtime.train.callbacks.standard import standard
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.data.feed import Feed
from flexit.runtime.train.describe import spec_json, spec_of
from flexit.runtime.train.evaluation import held_out
from flexit.runtime.train.evaluation.judge import Judge
from flexit.runtime.train.failures.before import Before
from flexit.runtime.train.failures.mishaps import Failure, Mishaps
from flexit.runtime.train.optimisation import optimizer_state
from flexit.runtime.train.optimisation.schedule import require_room
from flexit.runtime.train.policies.rollback import Rollback
from flexit.runtime.train.resources.device import pick_device
from flexit.runtime.train.resources.disk import bytes_at_hand
from flexit.runtime.train.resources.freed_memory import keeping_freed_memory
from flexit.runtime.train.resources.room import telling_what_to_lower
from flexit.runtime.train.resources.signals import Signals
from flexit.runtime.train.result import HeldOut, Result
from flexit.runtime.train.saving import checkpoint, random_state
from flexit.runtime.train.saving.identity import require_same_run, trainer_identity
from flexit.runtime.train.saving.mark import Mark
from flexit.runtime.train.saving.taking import taken
from flexit.runtime.train.update.batch import prepared
from flexit.runtime.train.update.preparing import make_ready
from flexit.runtime.train.update.shared import joined
from flexit.runtime.train.update.step import LossFn, NotFinite, Step, Stopped
from flexit.runtime.train.update.updater import Updater

Loader = Iterable[Any]


class Trainer:
    """Trains any module whose ``forward`` takes a batch's entries by name; in a script under ``torchrun`` on all of its
    processes, of which only the first has callbacks, evaluations and a folder.

    Attributes:
        model: on the device of the config.
        steps: the last step of the current call of :meth:`fit`.
        step: updates made.
        tokens: labels learned from.
        extras: text files that go into each checkpoint, by name (``tokenizer.json``, ...).
        allow_disk: whether :meth:`fit` starts although the disk has no room for the checkpoints.
        newest: the newest checkpoint, if one was written or resumed from.
        stopped_by: what ended the last call of :meth:`fit` before its time, as :class:`Result` says it.
        judge: tells the metrics of evaluations.
    """

    def __init__(  # noqa: PLR0917 (the signature that users of training libraries know)
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_fn: LossFn, train_dataloader: Loader,
        val_dataloader: Loader | None = None, callbacks: Sequence[Callback] = (),
        config: TrainingConfig | Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """A trainer; nothing runs yet.

        Args:
            model: what to train. It is moved to the device of the config, with the optimizer's parameters.
            optimizer: over its parameters, all or some.
            loss_fn: ``loss_fn(outputs, batch)`` gives the mean over the batch's labelled tokens: a scalar, or
                scalars by name whose sum is minimised. With an attribute ``reads_aux`` that is true the model is
                called with ``aux=True``.
            train_dataloader: batches, each a mapping of names to tensors or numpy arrays; all entries but ``labels``
                go to the model by their names.
            val_dataloader: held-out batches, looked at as ``config.evaluate`` says.
            callbacks: the user's own.
            config: the rest, also as a mapping; its defaults are those of a run config.

        Raises:
            UserError: FX1704 (something that cannot be used), FX1505 (evaluation without data, or data without
                evaluation), FX1509 (checkpoints that cannot be kept), FX1702 (no such device), FX1526 (processes).
        """
        self.config = settings_of(config)
        held_out_loader = {} if val_dataloader is None else {"val_dataloader": val_dataloader}
        require_parts(
            model=model, optimizer=optimizer, loss_fn=loss_fn,
            loaders={"train_dataloader": train_dataloader, **held_out_loader},
        )  # fmt: skip
        require_held_out(self.config, val_dataloader)
        require_watchable(self.config)
        self.judge = Judge((self.config.evaluate.metrics or ()) if self.config.evaluate is not None else ())
        self.device = pick_device(self.config.device)
        self._ranks = joined(self.device, accumulate=self.config.accumulate)
        self.model = model.to(self.device)
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.out = None if self.config.out is None else Path(self.config.out)
        self.extras: dict[str, str] = {}
        self.allow_disk = False
        self.step = self.steps = self.tokens = 0
        self.newest: Path | None = None
        self._feed = Feed(train_dataloader)
        self._validation = val_dataloader
        self._held_out: HeldOut | None = None
        self._updater = Updater(self.model, optimizer, loss_fn, config=self.config, ranks=self._ranks)
        require_way_back(self.config)
        self._mishaps = Mishaps(
            self.model, loss_fn, config=self.config, autocast=self._updater.autocast, files=self._files
        )  # fmt: skip
        make_ready(self.model, self.config)
        self._resumed = self._by_pass = self._done = False
        self.stopped_by: str | None = None
        self._dropped: Mark | None = None
        own = require_callbacks(callbacks)
        before, after = standard(self.config, self.out)
        self.callbacks, self._added = [*before, *own, *after], [*before, *after]

    @property
    def average(self) -> nn.Module | None:
        """A copy of the model with the mean of its weights, if the config asks for one."""
        return self._updater.average

    @property
    def validation_loss(self) -> float | None:
        """The sum of all loss terms in the last evaluation, if there was one."""
        return None if self._held_out is None else self._held_out.loss

    def fit(self, *, steps: int | None = None, epochs: int | None = None) -> Result:
        """Train up to a step, or for passes over the training data.

        Args:
            steps: updates in all, those before a resume included. An update may span two passes.
            epochs: passes in all, those before a resume included. The last update of a pass has the batches that are
                left, so that each pass sees every batch once.

        Returns:
            How it ended. SIGINT and SIGTERM end it after the update at hand, or between two batches of an update,
            which is then dropped; with a checkpoint of the last whole update where there is a folder.

        Raises:
            UserError: FX1704 (not exactly one of the two, or a batch or loss that cannot be used), FX1605 (an update
                or evaluation without labels), FX1701 (a number is not finite), FX1303 (someone else writes the
                folder), FX1302 (the folder holds another run; :meth:`resume` was not called).
            ResourceError: FX1703, a step finds no memory; FX1710, the disk has no room; FX1304, it refused.
        """
        require_steps(steps, epochs)
        self._by_pass = epochs is not None
        self.steps = self._last_step(epochs) if epochs is not None else steps or 0
        require_room(self.config.schedule, self.steps)
        loss, self._done, self.stopped_by = None, False, None
        with keeping_freed_memory(self.device) as tidy, self._feed.open(), ExitStack() as stack:
            signals = stack.enter_context(Signals())
            self._begin(stack)
            self.model.train()
            self._tell("start")
            if isinstance(self.config.non_finite, Rollback) and self.newest is None:
                self.save()  # something to go back to
            while not self._ranks.agree(signals, ends=self._done or self.step >= self.steps or bool(self.stopped_by)):
                done = self._update(signals)
                tidy()
                if done is not None:
                    loss = loss if done.skipped else done.loss
                    self._tell("after_step", done)
            self.stopped_by = signals.received or self.stopped_by
            self._tell("end")
        last, by = self.validation_loss, signals.received or self.stopped_by
        return self._ranks.led(partial(Result, self.step, self.tokens, loss, last, by, self.newest, self._done))

    def stop(self, by: str | None = None) -> None:
        """End the run after the update at hand; for callbacks.

        Args:
            by: what ends it, where it is to go on another time, as after a signal; None: it is done.
        """
        if by is None:
            self._done = True
        else:
            self.stopped_by = by

    def _update(self, signals: Signals) -> Step | None:
        """One update: gradients of the mean loss over all tokens of the micro-batches, the clip, the optimizer.

        Returns:
            What it did; None where a signal came before its last batch, and all is as it was before it, or where the
            run went back to a checkpoint.
        """
        number, count = self.step + 1, self.config.accumulate
        mark = Mark.of(self._feed, self.model) if count > 1 and self._ranks.count == 1 else None

        def stop() -> bool:
            return mark is not None and signals.received is not None

        batches = [
            prepared(given, self.device, loader="train_dataloader", place=f"step {number}: {self._feed.where}")
            for given in self._feed.group(count, one_pass=self._by_pass, stop=stop)
        ]
        place = f"step {number}, up to {self._feed.where},"
        before = Before.of(self.model)
        try:
            with self._room(batches, f"step {number}"):
                done = self._updater.make(batches, number=number, steps=self.steps, stop=stop, place=place)
        except Stopped:
            assert mark is not None
            mark.put_back(self.model)
            self._dropped = mark
            return None
        except NotFinite as error:
            failure = self._ranks.led(partial(self._mishaps.answer, error, batches, before, number=number))
            before.put_back(self.model)
            if failure.answer == "rollback":
                self._go_back(failure)
                return None
            done = self._updater.skipped(error, number=number)
            self._tell("after_failure", failure)
        else:
            self._mishaps.in_a_row = 0
        self.step, self.tokens = number, self.tokens + done.tokens
        return done

    def _room(self, batches: Sequence[Mapping[str, Tensor]], what: str) -> AbstractContextManager[None]:
        return telling_what_to_lower(
            self.model, self.optimizer, self.loss_fn, config=self.config, batches=batches, what=what
        )

    def _go_back(self, failure: Failure) -> None:
        """Take all but data and random states back to the newest regular checkpoint, else to the newest of all."""
        folder, every = self._folder(), self.config.checkpoint.every
        found = self._ranks.led(lambda: checkpoint.newest_whole(folder, every=every) or checkpoint.newest_whole(folder))
        assert found is not None, "a run that may go back begins with a checkpoint"
        path, state, _ = found
        weights, (tensors, _) = checkpoint.read_weights(self.model, path), checkpoint.read_tensors(path)
        self._put_back(path, state, weights=weights, tensors=tensors)
        self._ranks.led(lambda: checkpoint.leave(path.parent, after=path))
        self._tell("after_failure", failure)

    def evaluate(self, *, max_batches: int | None = None) -> dict[str, float]:
        """The mean of each loss term over the held-out labels, and the metrics, as ``validation_<name>``.

        Args:
            max_batches: only the first so many.

        Raises:
            UserError: FX1505, there is no ``val_dataloader``; FX1605, it has no label.
        """
        loader = require_validation(self._validation)
        averaged = self.average if self.config.ema is not None and self.config.ema.evaluate else None
        model = averaged or self.model
        with self._room((), f"the evaluation after step {self.step}"):
            terms = held_out.means(
                model, self.judge.watch(model, self.loss_fn), islice(loader, max_batches), device=self.device,
                autocast=self._updater.autocast, after=self.step,
            )  # fmt: skip
        loss, told = sum(terms.values()), self.judge.values()
        self._held_out = HeldOut(self.step, loss, self.judge.score(self.config.checkpoint.best, loss, told))
        metrics = {f"validation_{name}": value for name, value in {**terms, **told}.items()}
        self._tell("after_evaluation", metrics)
        return metrics

    def save(self) -> Path:
        """Write a checkpoint of this step into the run folder, durably; of several processes the first one does.

        Raises:
            UserError: FX1704, the trainer has no folder.
            ResourceError: FX1304, the disk refused; older checkpoints are whole.
        """
        folder = self._folder()
        if not self._ranks.leads:
            self.newest = checkpoint.place_of(folder, self.step)
            return self.newest
        self._tell("before_checkpoint")
        place = self._dropped or Mark.of(self._feed)
        tensors, moved = self._updater.pack()
        held_out = self._held_out if self._held_out is not None and self._held_out.step == self.step else None
        state = {
            "step": self.step, "tokens": self.tokens, "position": place.position, **moved,
            "identity": self._identity(),
            "validation_loss": None if held_out is None else held_out.loss,
            "score": None if held_out is None else held_out.score,
            "callbacks": {key: state_of(each, key) for key, each in self._keyed().items()},
            "mishaps": self._mishaps.state(),
        }  # fmt: skip
        random = {f"now/{k}": v for k, v in place.random.items()} | {f"pass/{k}": v for k, v in place.start.items()}
        self.newest = checkpoint.save(
            folder, self.model, checkpoint.Contents(state, tensors, random, self._files(), self.average)
        )
        self._tell("after_checkpoint", self.newest)
        return self.newest

    def resume(self, *, allow_changed: bool = False) -> list[CheckpointError]:
        """Go on from the newest whole checkpoint of the run folder; from the beginning where there is none.

        Args:
            allow_changed: go on although spec, config, optimizer settings, number of batches, callbacks, threads or
                device are not those of the checkpoint. Those of this trainer then hold.

        Returns:
            Why newer checkpoints were passed over, if they were.

        Raises:
            CheckpointError: FX1202, it is of another model or optimizer, or something changed that was not allowed to;
                FX1201, all are damaged. The trainer is as it was.
            UserError: FX1704, the loader has fewer batches than were seen; the trainer is as it was.
        """
        folder = self._folder()
        found = self._ranks.led(lambda: checkpoint.tidied(folder))
        self._resumed = True
        if found is None:
            return []
        path, state, damaged = found
        weights, (tensors, random) = checkpoint.read_weights(self.model, path), checkpoint.read_tensors(path)
        self._updater.require_fitting(tensors, state)
        callbacks = self._keyed()
        for key in sorted(state["callbacks"].keys() & callbacks.keys()):
            callbacks[key].check_state_dict(state["callbacks"][key])
        if not allow_changed:
            require_same_run(path, state, self._identity(), spec=spec_of(self.model), callbacks=callbacks)
        self._feed.load(state["position"], checkpoint.under(random, "pass/"))
        self._ranks.led(lambda: checkpoint.name_latest(path))
        self._put_back(path, state, weights=weights, tensors=tensors)
        self._mishaps.load(state.get("mishaps", {}))
        self._dropped = None
        random_state.restore(checkpoint.under(random, "now/"))
        return damaged

    def _put_back(
        self, path: Path, state: Mapping[str, Any], *, weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> None:
        """Weights, optimizer, counts and the states of callbacks as a checkpoint has them."""
        checkpoint.copy_weights(weights, self.model)
        self._updater.unpack(tensors, state, checkpoint.read_average(path))
        self.step, self.tokens, self.newest = state["step"], state["tokens"], path
        loss, callbacks = state["validation_loss"], self._keyed()
        self._held_out = None if loss is None else HeldOut(self.step, loss, state.get("score", loss))
        for key in sorted(state["callbacks"].keys() & callbacks.keys()):
            callbacks[key].load_state_dict(state["callbacks"][key])

    def _identity(self) -> dict[str, Any]:
        """What this run depends on, as far as the trainer knows."""
        groups = {str(number): optimizer_state.plain(group) for number, group in enumerate(self._updater.settings)}
        return trainer_identity(
            spec_of(self.model), self.config, device=self.device, batches=batches_per_pass(self._feed.loader),
            optimizer={"class": type(self.optimizer).__name__, "groups": groups},
            frozen=[name for name, parameter in self.model.named_parameters() if not parameter.requires_grad],
        )  # fmt: skip

    def _keyed(self) -> dict[str, Callback]:
        """The callbacks by the names of their states."""
        return keyed([each for each in self.callbacks if each not in self._added], self._added)

    def _begin(self, stack: ExitStack) -> None:
        """Take the folder, and start the random numbers of a new run."""
        if self.out is not None:
            folder = taken(
                self.out, self.config, begins=self.step == 0 and not self._resumed, steps=self.steps,
                each=bytes_at_hand(self.model, self.optimizer, ema=self.average is not None), allow=self.allow_disk,
            )  # fmt: skip
            self._ranks.led(lambda: stack.enter_context(folder))
        self._ranks.share([each.data for each in (*self.model.parameters(), *self.model.buffers())])
        stack.callback(self._tell, "close")
        if self.step == 0:
            random_state.seed_all(self.config.seed)
        if self._dropped is not None:
            self._dropped.go_back(self._feed)
            self._dropped = None

    def _tell(self, occasion: str, *details: Any) -> None:
        for each in self.callbacks if self._ranks.leads else ():
            getattr(each, occasion)(self, *details)

    def _folder(self) -> Path:
        if self.out is None:
            raise refused(
                "FX1704", "config.out", expected="a run folder", found="None", cure="give TrainingConfig(out=...)"
            )
        return self.out / "checkpoints"

    def _files(self) -> dict[str, str]:
        spec = spec_of(self.model)
        return self.extras | ({} if spec is None else {"spec.json": spec_json(spec)}) | note_of(self.model)

    def _last_step(self, epochs: int) -> int:
        place = (self._feed.passes, self._feed.batches) if self._dropped is None else self._dropped.place
        return self.step + steps_left(self._feed.loader, epochs, place=place, accumulate=self.config.accumulate)
