"""Sends the lines of ``metrics.jsonl`` and ``timing.jsonl`` to trackers, each of them once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexit.files.folder import write_file
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.describe import config_data
from flexit.runtime.train.tracker import Opening, Tracker, Writer

if TYPE_CHECKING:
    from flexit.runtime.train.failures.mishaps import Failure
    from flexit.runtime.train.trainer import Trainer

FILE = "trackers.json"
"""What each tracker calls the run, and the last step that it was sent of each file and of evaluations."""


class Tracking(Callback):
    """Opens the trackers of a run and passes its lines on.

    A run that goes on makes the lines after its checkpoint once more. Trackers that cannot drop the first ones are not
    sent them again: numbers of a repeated run are the same. After a rollback they are not, and these trackers keep the
    first ones of the steps that are made anew. What was sent is noted before it is, so that a kill leaves a line out at
    worst.
    """

    def __init__(self, folder: Path, trackers: Sequence[Tracker]) -> None:
        self.folder = folder
        self.trackers = trackers
        self._open: list[tuple[str, Tracker, Writer]] = []
        self._notes: dict[str, dict[str, Any]] = {}

    def start(self, trainer: Trainer) -> None:
        for each in self.trackers:
            each.require()
        self._notes = read_notes(self.folder / FILE)
        settings = {**config_data(trainer.config), "optimizer": type(trainer.optimizer).__name__}
        for number, each in enumerate(self.trackers):
            key = f"{number}:{each.kind}"
            known = self._notes.get(key, {}).get("run")
            writer = each.open(Opening(self.folder, settings, trainer.step, known))
            self._open.append((key, each, writer))
            self._notes.setdefault(key, {"sent": {}})["run"] = writer.name
        self._note()

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        if failure.answer == "rollback":  # trackers that can drop the lines of steps that are made anew do so
            self.close(trainer)
            self.start(trainer)

    def line(self, of: str, line: Mapping[str, Any]) -> None:
        """Pass a line on.

        Args:
            of: what it is of: ``metrics``, ``evaluation`` or ``timing``.
            line: with its step.
        """
        step = int(line["step"])
        values = {
            name: float(value) for name, value in line.items() if name != "step" and isinstance(value, int | float)
        }
        fresh: list[Writer] = []
        for key, each, writer in self._open:
            sent = self._notes[key]["sent"]
            if each.replaces or step > sent.get(of, 0):
                fresh.append(writer)
                sent[of] = step
        if fresh:
            self._note()
        for writer in fresh:
            writer.write(step, values)

    def close(self, trainer: Trainer) -> None:
        del trainer
        left, self._open = self._open, []
        for _, _, writer in left:
            writer.close()

    def _note(self) -> None:
        write_file(self.folder / FILE, json.dumps(self._notes, indent=1))


def read_notes(file: Path) -> dict[str, dict[str, Any]]:
    """What was noted of each tracker; nothing where the notes are damaged, so that the trackers begin anew."""
    try:
        found: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    noted = found if isinstance(found, dict) else {}
    return {
        str(key): {"run": each.get("run"), "sent": dict(each["sent"])}
        for key, each in noted.items()
        if isinstance(each, dict) and isinstance(each.get("sent"), dict)
    }
