"""Comparisons carried out: runs as flexit train makes them, on data that is encoded once; kills lose nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flexit.cli.app import run
from flexit.errors import UserError
from flexit.runtime.compare.jobs import Job, carry_out
from flexit.runtime.compare.run import _Watch, compare  # pyright: ignore[reportPrivateUsage]
from flexit.runtime.runs.folder import RunFolder
from flexit.runtime.train.read import read_config
from flexit.runtime.train.run import train

Write = Callable[..., Path]
LEARNED = '{set: ["blocks.decoder.layer.attention.rotary=null", "blocks.embed.position={kind: learned, max_len: 16}"]}'
BAD = '{set: ["optimizer.lr=1e38", "clip_norm=null"]}'


@pytest.mark.slow
def test_a_comparison_that_is_killed_and_started_again(
    write_compare: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a variant that fails, one that cannot read long rows, and a kill of the whole between and within runs."""
    file = write_compare(
        variants=f"{{learned: {LEARNED}, rotary: {{}}, bad: {BAD}}}", extrapolate="[16, 32]", match="{vary: d_ff}"
    )
    first = subprocess.Popen([sys.executable, "-m", "flexit", "compare", str(file), "--jobs", "1"])
    done, runs = tmp_path / "compared/runs/learned/seed-0.json", tmp_path / "compared/runs"
    patience = time.monotonic() + 120
    while not (runs / "rotary/seed-0/LATEST").is_file() and time.monotonic() < patience and first.poll() is None:
        time.sleep(0.01)
    first.kill()
    first.wait()
    before = done.stat().st_mtime_ns
    encoded = (tmp_path / "compared/data/300/data/ids.bin").stat().st_mtime_ns

    assert run(["compare", str(file), "--jobs", "1"]) == 1
    out, said = capsys.readouterr()
    # the run that was at work looks for its parent twice a second, and may have come to its end before
    assert re.search(r"[12] of 3 runs are finished already", said) and "bad seed 0: FX1701" in said
    assert done.stat().st_mtime_ns == before, "a finished run is not run again"
    assert (tmp_path / "compared/data/300/data/ids.bin").stat().st_mtime_ns == encoded
    assert not list(runs.glob("*/seed-0/data")), "runs have no data of their own"
    rows = [line.split("  ") for line in out.splitlines()]
    assert rows[0][0] == "variant" and "what is missing" in out
    assert "cannot: table of positions has 16 rows" in out and "seed 0 failed: FX1701" in out
    for name in ("results.md", "results.csv", "results.json", "results.png", "results.svg"):
        assert (tmp_path / "compared" / name).is_file()
    results = {each["name"]: each for each in json.loads((tmp_path / "compared/results.json").read_text())["variants"]}
    lengths = results["rotary"]["seeds"]["0"]["lengths"]
    assert lengths["16"]["validation_loss"] == results["rotary"]["seeds"]["0"]["metrics"]["validation_loss"]
    assert 0 < lengths["32"]["validation_loss"] < 10

    alone = tmp_path / "alone"
    train(runs / "rotary/seed-0.yaml", sets=[f"out={alone}"], progress=False)
    assert (alone / "metrics.jsonl").read_bytes() == (runs / "rotary/seed-0/metrics.jsonl").read_bytes()
    assert RunFolder(runs / "rotary/seed-0").state == "finished" and RunFolder(runs / "bad/seed-0").state == "failed"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without PyTorch: each sleeps, and writes a result unless a signal comes."""

    def begin(self: Job) -> subprocess.Popen[bytes]:
        found = json.dumps({"key": self.key, "metrics": {}, "lengths": {}, "seconds": 1.0})
        script = f"import time, sys; time.sleep(float(sys.argv[1])); open({str(self.result)!r}, 'w').write({found!r})"
        seconds = str(self.arguments.get("seconds", 0.0))
        code = self.arguments.get("code")
        command = [sys.executable, "-c", script if code is None else code, seconds]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    monkeypatch.setattr(Job, "begin", begin)


def jobs(folder: Path, *arguments: dict[str, Any]) -> list[Job]:
    return [
        Job(f"{number}", "a", number, folder / f"seed-{number}.yaml", f"key {number}", 1, given)
        for number, given in enumerate(arguments)
    ]


def test_so_many_at_a_time_and_a_failure_loses_no_other(tmp_path: Path, quick: None) -> None:
    most, told = [0], list[tuple[str, str]]()
    planned = jobs(tmp_path, {"seconds": 0.4}, {"code": "import sys; print('no'); sys.exit(3)"}, {"seconds": 0.4},
                   {"code": "import os; os.kill(os.getpid(), 9)"})  # fmt: skip
    failed = carry_out(
        planned, at_once=2, told=lambda job, what: told.append((job.name, what)),
        idle=lambda running: most.append(len(running)),
    )  # fmt: skip
    assert max(most) == 2
    assert failed == {"1": "its process ended with code 3: no", "3": "its process ended with signal 9"}
    assert [job.finished for job in planned] == [True, False, True, False]
    assert ("0", "begun") in told and ("2", "finished") in told


def test_a_signal_ends_what_runs_and_begins_no_more(tmp_path: Path, quick: None) -> None:
    told: list[tuple[str, str]] = []
    sent: list[int] = []
    planned = jobs(tmp_path, {"seconds": 60.0}, {"seconds": 60.0})

    def idle(running: Any) -> None:
        if not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        carry_out(planned, at_once=1, told=lambda job, what: told.append((job.name, what)), idle=idle)
    assert told == [("0", "begun"), ("0", "interrupted")]


def test_threads_are_divided_and_kept(write_compare: Write, tmp_path: Path, quick: None, monkeypatch: Any) -> None:
    """A comparison that goes on with other --jobs keeps what its runs began with."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    text = (tmp_path / "run.yaml").read_text().replace("threads: 1\n", "")
    (tmp_path / "run.yaml").write_text(text)
    file = write_compare(seeds="[0, 1]")
    compare(file, jobs=4, say=lambda _: None)
    configs = [read_config(tmp_path / f"compared/runs/base/seed-{seed}.yaml")[0] for seed in (0, 1)]
    assert [(config.threads, config.seed) for config in configs] == [(2, 0), (2, 1)]
    found, (outcome,) = compare(file, jobs=1, say=lambda _: None)
    assert json.loads((found.out / "compare.json").read_text())["threads"] == {"base seed 0": 2, "base seed 1": 2}
    assert list(outcome.results) == [0, 1] and outcome.unfinished == []


def test_how_far_runs_are_is_told_once(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("flexit.runtime.compare.run.TELL_EVERY", 0.0)
    told: list[str] = []
    watch = _Watch(told.append)
    running = jobs(tmp_path, {})
    watch(running)
    watch(running)
    assert len(told) == 1


def test_a_result_of_something_else_does_not_count(write_compare: Write, quick: None) -> None:
    compare(write_compare(), say=lambda _: None)
    said: list[str] = []
    compare(write_compare(set='["steps=13"]'), say=said.append)
    assert "base seed 0: begins" in said


def test_a_folder_of_somebody_else_is_left_alone(write_compare: Write, tmp_path: Path) -> None:
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is no comparison") as refused:
        compare(write_compare())
    assert refused.value.code == "FX1302"


def test_what_would_be_run(write_compare: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = write_compare(grid="{optimizer.lr: [0.1, 0.2]}", seeds="[0, 1]")
    assert run(["compare", str(file), "--plan"]) == 0
    said = capsys.readouterr().out
    assert "lr=0.1" in said and "4 runs" in said
    assert not (tmp_path / "compared").exists()
    assert run(["compare", str(file), "--plan", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["variants"]] == ["lr=0.1", "lr=0.2"]


def test_mistakes_have_places(write_compare: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", str(write_compare(seeds="[0, 0]"))]) == 2
    assert "compare.yaml:4:8: FX2301 seeds: a seed stands twice" in capsys.readouterr().err
