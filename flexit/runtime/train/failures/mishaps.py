"""Updates that were not finite: found out where, kept for a replay, and answered as the config says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from flexit.errors import ResourceError
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.failures import record
from flexit.runtime.train.failures.before import Before
from flexit.runtime.train.failures.examine import Part, examine
from flexit.runtime.train.failures.losses import described
from flexit.runtime.train.failures.watched import Finding
from flexit.runtime.train.non_finite import Answer
from flexit.runtime.train.saving import checkpoint
from flexit.runtime.train.update.step import Autocast, Batch, LossFn, NotFinite


@dataclass(frozen=True, slots=True)
class Failure:
    """An update that was not finite, and that the run goes on without.

    Attributes:
        step: its number.
        answer: ``skip`` or ``rollback``.
        reason: where it was not finite first.
        folder: where it is kept, if it is.
        count: how many updates were left out in all, or how often the run went back, this time included.
    """

    step: int
    answer: Answer
    reason: str
    folder: Path | None
    count: int


class Mishaps:
    """What becomes of updates that are not finite.

    Attributes:
        in_a_row: updates that were left out since the last that was made.
        skipped: updates that were left out.
        rollbacks: times that the run went back.
    """

    def __init__(
        self, model: nn.Module, loss_fn: LossFn, *, config: TrainingConfig, autocast: Autocast,
        files: Callable[[], Mapping[str, str]],
    ) -> None:  # fmt: skip
        """Of a trainer.

        Args:
            model: what is trained.
            loss_fn: its loss.
            config: of the trainer.
            autocast: the context of forwards.
            files: texts that a replay needs, by name.
        """
        self._model, self._loss_fn, self._config, self._autocast = model, loss_fn, config, autocast
        self._files = files
        self.in_a_row = self.skipped = self.rollbacks = 0

    def answer(self, error: NotFinite, batches: Sequence[Batch], before: Before, *, number: int) -> Failure:
        """What to do about an update.

        Args:
            error: what the update raised.
            batches: its micro-batches.
            before: random states and buffers in front of it.
            number: of the update.

        Returns:
            How the run goes on.

        Raises:
            NotFinite: the run is to stop; the error says where the first number was that is not finite.
        """
        reason, finding, parts = self._examined(error, batches, before)
        folder, kept = self._kept(error, finding, parts, number=number)
        answer = self._config.non_finite.answer(in_a_row=self.in_a_row, rollbacks=self.rollbacks)
        if answer is None:
            raise self._told(error, reason, kept) from None
        self._model.zero_grad(set_to_none=True)
        before.put_back(self._model)
        if answer == "skip":
            self.in_a_row, self.skipped = self.in_a_row + 1, self.skipped + 1
        else:
            self.rollbacks += 1
        return Failure(number, answer, reason, folder, self.skipped if answer == "skip" else self.rollbacks)

    def state(self) -> dict[str, int]:
        """What a checkpoint holds of it."""
        return {"in_a_row": self.in_a_row, "skipped": self.skipped, "rollbacks": self.rollbacks}

    def load(self, state: Mapping[str, int]) -> None:
        """Go on from a saved state."""
        self.in_a_row, self.skipped = state.get("in_a_row", 0), state.get("skipped", 0)
        self.rollbacks = state.get("rollbacks", 0)

    def _examined(
        self, error: NotFinite, batches: Sequence[Batch], before: Before
    ) -> tuple[str, Finding | None, Sequence[Part]]:
        """The first bad place in words, the same as data, and the micro-batches that show it."""
        try:
            finding, parts = examine(
                self._model, self._loss_fn, batches, before=before, autocast=self._autocast, scale=error.scale
            )  # fmt: skip
        except Exception as other:  # the failure itself must be told in any case
            return f"{error.first} (looking for the block failed: {type(other).__name__}: {other})", None, ()
        if finding is None:
            again = "no block when the update was run once more, without compiled code: chance, or the machine"
            return f"{error.first}; {again}", None, parts
        where = "" if finding.micro_batch is None else f", in micro-batch {finding.micro_batch + 1} of {len(batches)}"
        return f"{finding}{where}", finding, parts

    def _kept(
        self, error: NotFinite, finding: Finding | None, parts: Sequence[Part], *, number: int
    ) -> tuple[Path | None, str]:
        """The folder of the failure, and what there is to say of it."""
        config = self._config
        if config.out is None or not parts:
            return None, ""
        data = {
            "losses": record.plain(error.losses), "first": None if finding is None else finding.data(),
            "loss_fn": described(self._loss_fn),
            "precision": config.precision, "recompute": config.recompute, "scale": error.scale,
            "threads": torch.get_num_threads(), "device": next(self._model.parameters()).device.type,
            "training": self._model.training,
        }  # fmt: skip
        try:
            folder = record.write(
                Path(config.out), step=number, data=data, weights=checkpoint.weights_of(self._model), parts=parts,
                files=self._files(),
            )  # fmt: skip
        except ResourceError as refusal:
            return None, f"; the batch could not be kept: {refusal.problems[0].found}"
        return folder, f"; flexit replay {folder} shows every block"

    def _told(self, error: NotFinite, reason: str, kept: str) -> NotFinite:
        """The error with the place, and what may help."""
        (problem,) = error.problems
        most = f", after {self.in_a_row} updates in a row that were left out" if self.in_a_row else ""
        if self.rollbacks:
            most = f", after going back {self.rollbacks} times"
        found = problem.found.replace(f"first bad: {error.first}", f"first bad: {reason}{most}")
        return NotFinite([replace(problem, found=found, cure=f"{problem.cure}{kept}")])
