"""Run folders as a run leaves them, written without one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CONFIG = "flexit: 1\nmodel: tiny-llama\ntask: {{kind: {task}}}\nsteps: {steps}\nout: {out}\noptimizer: {{lr: {lr}}}\n"


def write_run(
    folder: Path, *, losses: Iterable[float] = (3.0, 2.0), held_out: Iterable[float] = (), every: int = 5,
    seconds: float = 2.0, saved: int | None = None, outcome: str | None = "finished", task: str = "causal_lm",
    lr: float = 0.001,
) -> Path:  # fmt: skip
    """A run of ten steps that logged losses ``every`` so many, and held-out ones at the same steps.

    Args:
        folder: where.
        losses: of the training lines.
        held_out: of the evaluations.
        every: steps between two lines.
        seconds: of each line.
        saved: step of a checkpoint that LATEST names.
        outcome: how its one start ended.
        task: what is learned.
        lr: of the run config.
    """
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"flexit": "0.1.0"}')
    (folder / "config.yaml").write_text(CONFIG.format(task=task, steps=10, out=folder, lr=lr))
    lines: list[Mapping[str, Any]] = []
    for number, loss in enumerate(losses, 1):
        lines.append({"step": number * every, "loss": loss, "lr": 0.1, "tokens": number * every * 8})
    lines += [{"step": number * every, "validation_loss": loss} for number, loss in enumerate(held_out, 1)]
    lines.sort(key=lambda line: line["step"])
    timing = [{"step": line["step"], "seconds": seconds} for line in lines if "loss" in line]
    for name, found in (("metrics.jsonl", lines), ("timing.jsonl", timing)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in found))
    start = {"started": "2026-01-02T03:04:05+00:00", "ended": None, "outcome": outcome, "command": "flexit train"}
    (folder / "environment.json").write_text(json.dumps({"starts": [start]}))
    (folder / "cost.json").write_text(json.dumps({"parameters": 1234, "flops_per_update": 100, "memory": 2048}))
    if saved is not None:
        (folder / "checkpoints" / f"step-{saved:06d}").mkdir(parents=True)
        (folder / "LATEST").write_text(f"step-{saved:06d}\n")
    return folder
