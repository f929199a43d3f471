"""``environment.json``, with an entry for each start of a run, and ``cost.json``: what a run folder says beside numbers
that a repeated run gives again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from flexit.errors import FlexitError, UserError
from flexit.files.folder import write_file
from flexit.ir.analysis.cost import cost
from flexit.ir.program import Program
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.resources.launch import launched
from flexit.runtime.train.resources.machine import command_line, git_state, machine, versions
from flexit.runtime.train.resources.memory import training_memory

ENVIRONMENT, COST = "environment.json", "cost.json"
FORWARDS = 3
"""Forwards that an update takes as much work as: itself, and a backward of two (Kaplan et al. 2020, appendix B)."""


class Ended(Protocol):
    """How a run ended."""

    @property
    def step(self) -> int: ...
    @property
    def stopped_by(self) -> str | None: ...


class Entry:
    """One start of a run, which is on the disk from its beginning on. A kill leaves it without an end. Of several
    processes the first one writes it.

    Attributes:
        data: what is known of it.
    """

    def __init__(self, out: Path, *, seed: int, device: torch.device) -> None:
        self._file, self._leads = out / ENVIRONMENT, launched().rank == 0
        self._before = starts(out)
        self.data: dict[str, Any] = {
            "started": _now(), "ended": None, "outcome": None, "from_step": 0, "to_step": None,
            "command": command_line(), "folder": str(Path.cwd()), "git": git_state(Path.cwd()), "seed": seed,
            "processes": launched().count, "versions": versions(), "machine": machine(device),
        }  # fmt: skip
        if self._before is None and self._leads:  # no file of ours any more: it is kept for whoever changed it
            self._file.replace(self._file.with_suffix(".damaged"))
        self.write()

    def write(self) -> None:
        """Put it on the disk, after those of earlier starts.

        Raises:
            ResourceError: FX1304, the disk refused.
        """
        if not self._leads:
            return
        write_file(self._file, json.dumps({"starts": [*(self._before or ()), self.data]}, indent=1) + "\n")

    def begin(self, step: int) -> None:
        """Note the step at which it goes on."""
        self.data["from_step"] = step
        self.write()

    def end(self, result: Ended) -> None:
        """Note how it ended."""
        outcome = "finished" if result.stopped_by is None else f"stopped by {result.stopped_by}"
        self.data |= {"ended": _now(), "outcome": outcome, "to_step": result.step}
        self.write()

    def fail(self, error: BaseException) -> None:
        """Note what it failed of; a disk that refuses that too hides nothing of it."""
        if isinstance(error, KeyboardInterrupt):
            outcome = "stopped by SIGINT"
        elif isinstance(error, UserError):
            outcome = f"failed: {error.code} {error.problems[0].message}"
        else:
            outcome = f"failed: {type(error).__name__}: {error}".splitlines()[0]
        self.data |= {"ended": _now(), "outcome": outcome}
        with suppress(FlexitError):
            self.write()


@contextmanager
def entry(out: Path, *, seed: int, device: torch.device) -> Iterator[Entry]:
    """An entry for a start, which is ended by whatever ends the block.

    Args:
        out: the run folder.
        seed: of the run.
        device: where it runs.
    """
    found = Entry(out, seed=seed, device=device)
    try:
        yield found
    except BaseException as error:
        found.fail(error)
        raise


def write_cost(out: Path, program: Program, config: RunConfig) -> None:
    """Note what the model of a run needs.

    Raises:
        ResourceError: FX1304, the disk refused.
    """
    rows, seq = config.batch.size * config.batch.accumulate, config.data.seq_len
    needs = cost(program, batch=1, seq=seq)
    update = FORWARDS * needs.flops * rows
    data = {
        "parameters": needs.parameters, "active_parameters": needs.active, "flops_per_update": update,
        "flops_per_token": update / (rows * seq), "forward_flops_per_token": needs.flops / seq,
        "tokens_per_update": rows * seq, "memory": training_memory(program, config), "seq_len": seq,
    }  # fmt: skip
    write_file(out / COST, json.dumps(data, indent=1) + "\n")


def starts(out: Path) -> list[dict[str, Any]] | None:
    """The entries of a run folder, oldest first; None where the file is damaged."""
    try:
        found = json.loads((out / ENVIRONMENT).read_bytes())["starts"]
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            return None
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
