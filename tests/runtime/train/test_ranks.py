"""A run on several processes is the run on one: real processes, started by ``torchrun``, that talk through gloo."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from flexit.errors import CheckpointError, UserError
from flexit.runtime.train.rate_finder import find_rate
from flexit.runtime.train.resources import launch
from flexit.runtime.train.resources.launch import Launch, launched, one_voice
from flexit.runtime.train.resources.signals import Signals
from flexit.runtime.train.run import train
from flexit.runtime.train.saving.saved_steps import checkpoints
from flexit.runtime.train.update.ranks import Ranks
from flexit.runtime.train.update.shared import require_shares
from flexit.runtime.train.update.step import NotFinite
from tests.runtime.train.ranked import STEPS, all_of_them

ROOT = Path(__file__).parents[3]
SAME = ("plain", "routed", "double", "halves", "shuffled", "weights", "skip", "rollback")
Told = dict[int, list[dict[str, dict[str, Any]]]]


def torchrun(count: int, *command: str, logs: Path | None = None, restarts: int = 0) -> list[str]:
    told = [] if logs is None else ["--log-dir", str(logs), "-r", "3", "--max-restarts", str(restarts)]
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), *told,
        "-m", *command,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What each process says of all trainings, by the number of processes; made once, however many run the tests."""
    here = tmp_path_factory.getbasetemp()
    file = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "told-by-ranks.pt"
    with FileLock(f"{file}.lock"):
        if not file.exists():
            made = said(tmp_path_factory)
            torch.save(made, file.with_suffix(".new"))
            file.with_suffix(".new").rename(file)
    return torch.load(file, weights_only=True)


def said(tmp_path_factory: pytest.TempPathFactory) -> Told:
    found: Told = {1: [all_of_them(tmp_path_factory.mktemp("one"))]}
    for count in (2, 4):
        folder = tmp_path_factory.mktemp("several")
        done = subprocess.run(
            torchrun(count, "tests.runtime.train.ranked", str(folder)), cwd=ROOT, env=environment(),
            capture_output=True, text=True, check=False, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        found[count] = [torch.load(folder / f"said-{rank}.pt", weights_only=True) for rank in range(count)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", SAME)
def test_the_same_losses_norms_and_weights(told: Told, name: str, count: int):
    one, many = told[1][0][name], [each[name] for each in told[count]]
    exact = 1e-10 if name == "double" else 1e-6
    assert len(one["losses"]) >= STEPS
    assert len(many[0]["losses"]) == len(one["losses"]), "the first process has all lines"
    assert all(each["losses"] == [] for each in many[1:]), "and the others have none"
    for before, after in zip(one["losses"], many[0]["losses"], strict=True):
        assert after == pytest.approx(before, rel=exact, nan_ok=True)
    for before, after in zip(one["norms"], many[0]["norms"], strict=True):
        assert after == (None if before is None else pytest.approx(before, rel=exact))
    assert many[0]["counts"] == one["counts"]
    for each in many:
        assert each["result"] == pytest.approx(one["result"], rel=exact), "all processes tell how it ended"
        assert each["without"] == one["without"], "what has no gradient anywhere is left alone"
        for key, value in one["weights"].items():
            torch.testing.assert_close(each["weights"][key], value, rtol=exact, atol=10 * exact)
            assert torch.equal(each["weights"][key], many[0]["weights"][key]), "no process drifts off"


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", ["skip", "rollback", "stop"])
def test_what_is_not_finite_is_answered_alike(told: Told, name: str, count: int):
    one = told[1][0][name]
    assert one["failures"]
    for each in told[count]:
        for key in {"checkpoints", "failures", "code", "found"} & one.keys():
            assert each[name][key] == one[key]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_mistakes_of_one_process_are_told_in_all(told: Told, count: int):
    for each in told[count]:
        assert each["other batches"]["code"] == "FX1712"
        assert each["fails elsewhere"]["code"] == "FX1704"
        assert "found a float, 1.0" in each["fails elsewhere"]["message"]


@contextmanager
def started(config: Path, count: int, logs: Path, *, restarts: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    command = torchrun(count, "flexit", "train", str(config), logs=logs, restarts=restarts)
    with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            for each in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                each.kill()
            process.kill()


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None and time.monotonic() < until, path
        time.sleep(0.02)


def of_rank(rank: int, process: subprocess.Popen[bytes]) -> psutil.Process:
    children = psutil.Process(process.pid).children()
    return next(each for each in children if each.environ().get("RANK") == str(rank))


def said_by(logs: Path, rank: int, stream: str) -> str:
    (file,) = logs.glob(f"*/attempt_0/{rank}/{stream}.log")
    return file.read_text()


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


GONE = "another process of the run has ended; the same command goes on from the newest checkpoint\n"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_killed_process_ends_the_others_and_one_goes_on_alone(
    tmp_path: Path, write_config: Callable[..., Path], victim: int
):
    config = write_config(
        steps="30", batch="{size: 2, accumulate: 4}", checkpoint="{every: 2}", log="{every: 1}", evaluate="{every: 10}"
    )
    with started(config, 2, tmp_path / "logs") as process:
        wait_for(tmp_path / "run" / "checkpoints" / "step-000004", process)
        other = of_rank(1 - victim, process)
        of_rank(victim, process).kill()
        assert process.wait(120) != 0
        assert not other.is_running()
        told = process.stderr.read().decode() if process.stderr is not None else ""
    assert "exitcode  : 130" in told and "exitcode  : -9" in told
    shown = said_by(tmp_path / "logs", 1 - victim, "stderr")
    assert shown.endswith(GONE) and "Traceback" not in shown
    if victim == 0:
        assert shown == GONE, "processes that do not lead say nothing else"
    (start,) = json.loads((tmp_path / "run" / "environment.json").read_text())["starts"]
    assert start["processes"] == 2 and start["to_step"] is None
    train(config, progress=False)
    train(config, sets=["out=alone"], progress=False)
    both = lines(tmp_path / "run"), lines(tmp_path / "alone")
    assert len(both[0]) == len(both[1]) == 33
    for here, there in zip(*both, strict=True):
        assert here == pytest.approx(there, rel=1e-5)
    weights = [
        load_file(tmp_path / out / "checkpoints" / "step-000030" / "model.safetensors") for out in ("run", "alone")
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_torchrun_starts_it_again(tmp_path: Path, write_config: Callable[..., Path]):
    config = write_config(steps="30", batch="{size: 2, accumulate: 4}", checkpoint="{every: 2}", log="{every: 1}")
    with started(config, 2, tmp_path / "logs", restarts=1) as process:
        wait_for(tmp_path / "run" / "checkpoints" / "step-000004", process)
        of_rank(1, process).kill()
        assert process.wait(240) == 0
    one, two = json.loads((tmp_path / "run" / "environment.json").read_text())["starts"]
    assert one["to_step"] is None and two["from_step"] >= 4 and two["outcome"] == "finished"


@pytest.mark.slow
def test_a_signal_ends_all_with_a_checkpoint(tmp_path: Path, write_config: Callable[..., Path]):
    config = write_config(
        steps="4000", batch="{size: 2, accumulate: 2}", checkpoint="{every: 1000}", evaluate="null",
        data="{train: {kind: text, files: ['corpus/*.py']}, seq_len: 16, tokenizer: bpe}",
    )  # fmt: skip
    with started(config, 2, tmp_path / "logs") as process:
        wait_for(tmp_path / "run" / "metrics.jsonl", process)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    (saved,) = checkpoints(tmp_path / "run" / "checkpoints")
    assert 0 < int(saved.name.removeprefix("step-")) < 1000
    (start,) = json.loads((tmp_path / "run" / "environment.json").read_text())["starts"]
    assert start["outcome"] == "stopped by SIGTERM"
    assert said_by(tmp_path / "logs", 0, "stdout").endswith("stopped by SIGTERM; the same command goes on\n")
    assert said_by(tmp_path / "logs", 1, "stdout") == said_by(tmp_path / "logs", 1, "stderr") == ""


@pytest.mark.slow
def test_a_mistake_is_told_once(tmp_path: Path, write_config: Callable[..., Path]):
    config = write_config(batch="{size: 4, accumulate: 3}")
    with started(config, 2, tmp_path / "logs") as process:
        process.wait(120)
    assert "FX1526" in said_by(tmp_path / "logs", 0, "stderr")
    assert said_by(tmp_path / "logs", 1, "stderr") == ""
    assert not (tmp_path / "run").exists()


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the second of two processes."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_how_a_process_was_started(second_of_two: None):
    del second_of_two
    assert launched({}) == launched({"WORLD_SIZE": "2"}) == Launch()
    assert launched() == Launch(2, 1, 1, 2)
    assert launched(os.environ | {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}) == Launch(2, 1, 0, 1)
    assert launched(os.environ | {"WORLD_SIZE": "1", "RANK": "0"}) == Launch()
    with pytest.raises(UserError, match=r"FX1527 RANK: .*\n.*found 'x'"):
        launched(os.environ | {"RANK": "x"})


@pytest.mark.parametrize(
    ("accumulate", "size", "cure"),
    [(1, 8, "{size: 4, accumulate: 2}"), (3, 8, "{size: 4, accumulate: 6}"), (1, 3, "accumulate of 2 with smaller")],
)
def test_updates_that_cannot_be_shared(
    write_config: Callable[..., Path], second_of_two: None, accumulate: int, size: int, cure: str
):
    del second_of_two
    with pytest.raises(UserError, match=r"FX1526 batch\.accumulate: 2 processes cannot share an update") as error:
        train(write_config(batch=f"{{size: {size}, accumulate: {accumulate}}}"), progress=False)
    assert cure in str(error.value)
    with pytest.raises(UserError, match=r"FX1526 config\.accumulate"):
        require_shares(2, accumulate=accumulate)
    require_shares(2, accumulate=2 * accumulate)


def test_a_sweep_is_for_one_process(write_config: Callable[..., Path], second_of_two: None):
    del second_of_two
    with pytest.raises(UserError, match="FX1527"):
        find_rate(write_config(), progress=False)


def test_a_signal_that_comes_while_processes_talk_is_not_lost():
    class Talking(Ranks):
        def gathered(self, mine: Any) -> list[Any]:
            signals.received = "SIGTERM"
            return [mine, (None, False, None)]

    signals, ranks = Signals(), Talking(2)
    assert not ranks.agree(signals, ends=False)
    assert signals.received == "SIGTERM"
    assert ranks.agree(signals, ends=False)


def test_others_leave_the_first_process_to_tell(monkeypatch: pytest.MonkeyPatch, second_of_two: None):
    del second_of_two
    monkeypatch.setattr(launch, "PATIENCE", 0.2)
    mistake = UserError.of("FX1704", "wrong", expected="right", found="wrong", cure="put it right")
    with pytest.raises(UserError, match="wrong"), one_voice():
        raise mistake
    monkeypatch.setattr(launch.time, "sleep", lambda seconds: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit, match="2"), one_voice():
        raise mistake


def test_errors_go_from_process_to_process():
    error = NotFinite.of("FX1701", "a step", expected="finite numbers", found="nan", cure="lower it")
    error.first = "the gradient of it"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.first, str(again)) == (NotFinite, error.first, str(error))
    assert pickle.loads(pickle.dumps(CheckpointError(error.problems))).problems == error.problems
