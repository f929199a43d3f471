"""Runs that are killed at random moments end with the bits of a run that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = textwrap.dedent("""
    import os, signal, sys
    from flexit.files import folder
    from flexit.runtime.train import checkpoint
    from flexit.runtime.train.run import train

    inside = int(sys.argv[2])
    if inside:
        real, calls = folder.sync_file, 0

        def deadly(path):
            global calls
            calls += 1
            if calls == inside and "step-" in str(path):
                os.kill(os.getpid(), signal.SIGKILL)
            if calls == inside:
                calls -= 1
            real(path)

        folder.sync_file = deadly
    print("ready", flush=True)
    print("result", train(sys.argv[1], progress=False).step, flush=True)
""")


def spawn(config: Path, inside: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(config), str(inside)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def finish(config: Path) -> None:
    process = spawn(config)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "result" in out


def contents(run: Path) -> dict[str, bytes]:
    """Everything in a run folder that a repeated run must give again."""
    files = {str(path.relative_to(run)): path for path in sorted(run.rglob("*")) if path.is_file()}
    changing = ("timing.jsonl", "environment.json", "config.yaml")
    return {name: path.read_bytes() for name, path in files.items() if name not in changing}


def step_of(run: Path) -> int:
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return json.loads(lines[-1])["step"] if lines else 0
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


@pytest.mark.slow
def test_ten_kills(tmp_path: Path, write_config: Callable[..., Path]):
    lines = {
        "steps": "150",
        "checkpoint": "{every: 6, keep_best: 1}",
        "evaluate": "{every: 3, max_batches: 2}",
        "log": "{every: 1}",
    }
    lines["set"] = '["blocks.embed.vocab_size=300", "blocks.decoder.layer.dropout=0.1"]'
    config = write_config(**lines)
    finish(config)
    (tmp_path / "run").rename(tmp_path / "whole")
    chance = random.Random(1)
    killed_at: list[int] = []
    for number in range(10):
        inside = chance.randrange(1, 8) if number % 3 == 0 else 0
        process = spawn(config, inside)
        assert process.stdout is not None
        process.stdout.readline()
        if not inside:
            begin, patience = step_of(tmp_path / "run"), time.monotonic() + 30
            while step_of(tmp_path / "run") < begin + 3 and process.poll() is None and time.monotonic() < patience:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.1))
            process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, f"kill {number} came too late"
        killed_at.append(step_of(tmp_path / "run"))
    assert max(killed_at) > 10
    finish(config)
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "run")
    assert whole.keys() == parts.keys()
    assert [name for name in whole if whole[name] != parts[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint(
    tmp_path: Path, write_config: Callable[..., Path], number: signal.Signals
):
    config = write_config(steps="5000", checkpoint="{every: 4000}", evaluate="{every: 4000}", log="{every: 1}")
    process = spawn(config)
    while step_of(tmp_path / "run") < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    last = step_of(tmp_path / "run")
    assert f"result {last}\n" in out
    assert (tmp_path / "run" / "LATEST").read_text() == f"step-{last:06d}\n"
