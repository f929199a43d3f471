"""Runs that signals end. Those that are killed are in ``test_killed``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = textwrap.dedent("""
    import sys
    from flexit.runtime.train.run import train

    print("result", train(sys.argv[1], progress=False).step, flush=True)
""")


def spawn(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


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
