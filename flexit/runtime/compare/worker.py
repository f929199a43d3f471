"""One run of a comparison, in a process of its own: it trains, looks at rows of other lengths, writes its result."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flexit.errors import UserError
from flexit.files.folder import write_file
from flexit.ir.plugins import load
from flexit.runtime.compare.lengths import by_length
from flexit.runtime.runs.folder import VALIDATION, RunFolder
from flexit.runtime.train.run import make_plan, prepare, train
from flexit.runtime.train.trainer import Result

INTERRUPTED = 130
TAKEN = "FX1303"
PATIENCE = 60.0
"""Seconds that are waited for the process of a comparison that was killed, which ends after its step."""


def main(arguments: Mapping[str, Any]) -> int:
    """Carry out a run.

    Args:
        arguments: ``config`` (file of the run config), ``shared`` (folder of the data), ``result`` (file to write),
            ``key`` (what the result is for), ``lengths``, ``plugins``, ``allow_memory`` and ``parent`` (process to end
            with).

    Returns:
        The exit code: 0 finished, 1 failed, 130 interrupted.
    """
    threading.Thread(target=_watch, args=(arguments["parent"],), daemon=True).start()
    result = Path(arguments["result"])
    try:
        for plugin in arguments["plugins"]:
            load(plugin)
        ended = _trained(arguments)
        if ended.stopped_by is not None:
            return INTERRUPTED
        found = _result(arguments, ended)
    except UserError as error:
        print(error, file=sys.stderr)
        found = {"failed": f"{error.code} {error.problems[0].message}"}
    except KeyboardInterrupt:
        return INTERRUPTED
    write_file(result, json.dumps({"key": arguments["key"], **found}, indent=1) + "\n")
    return 1 if "failed" in found else 0


def _trained(arguments: Mapping[str, Any]) -> Result:
    """Train, after whoever writes the folder yet has let go of it."""
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            return train(arguments["config"], shared=Path(arguments["shared"]), allow_memory=arguments["allow_memory"])
        except UserError as error:
            if error.code != TAKEN or time.monotonic() > patience:
                raise
            time.sleep(0.5)


def _result(arguments: Mapping[str, Any], ended: Result) -> dict[str, Any]:
    plan = replace(make_plan(arguments["config"], allow_memory=True), shared=Path(arguments["shared"]))
    run = RunFolder(plan.out)
    lengths: dict[str, Any] = {}
    if arguments["lengths"]:
        assert ended.checkpoint is not None
        lengths = by_length(plan, prepare(plan), ended.checkpoint, lengths=arguments["lengths"])
    metrics = {key for line in run.metrics for key in line if key == "loss" or key.startswith("validation_")}
    return {
        "step": ended.step, "tokens": ended.tokens, "metrics": {key: run.last(key) for key in sorted(metrics)},
        "best": run.best(VALIDATION), "seconds": round(sum(line.get("seconds", 0.0) for line in run.timing), 3),
        "lengths": lengths,
    }  # fmt: skip


def _watch(parent: int) -> None:
    """End after the step at hand when the process that began this one is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
