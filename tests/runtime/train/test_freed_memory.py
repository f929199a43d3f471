"""While training, freed memory stays with the process; after that, the system has it back."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import Any

import pytest
import torch

import flexit
from flexit.runtime.train.resources import freed_memory
from flexit.runtime.train.resources.freed_memory import EVERY, keeping_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
SCRIPT = """
import json, resource, sys
from pathlib import Path
import torch
import flexit

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

class Loader:
    def __init__(self):
        self.faults = []
    def __iter__(self):
        while True:
            self.faults.append(faults())
            yield {"input": torch.ones(1024, 64)}

def resident():
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS"))
    return int(line.split()[1]) * 1024

class Model(torch.nn.Sequential):
    def forward(self, input):
        return {"loss": super().forward(input).square().mean()}

wide = 4096
model = Model(torch.nn.Linear(64, wide), torch.nn.Tanh(), torch.nn.Linear(wide, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
loader = Loader()
trainer = flexit.Trainer(
    model, optimizer, lambda outputs, batch: outputs["loss"], loader, config={"progress": False, "device": "cpu"},
)
before = resident()
trainer.fit(steps=16)
one = 1024 * wide * 4
each = [b - a for a, b in zip(loader.faults[8:], loader.faults[9:])]
print(json.dumps({"faults": sorted(each)[len(each) // 2], "of_one": one / resource.getpagesize(),
    "left": (resident() - before) / one}))
"""


def told(**environment: str) -> dict[str, float]:
    """What a process says that trains with an activation of 16 MiB: faults of a step, and what it still has after."""
    left = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**left, "OMP_NUM_THREADS": "1", **environment}, capture_output=True,
        text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not GLIBC, reason="of the GNU C library")
def test_a_step_has_the_memory_of_the_step_before():
    ours = told()
    assert ours["faults"] < ours["of_one"] / 10
    assert ours["left"] < 1


@pytest.mark.slow
@pytest.mark.skipif(not GLIBC, reason="of the GNU C library")
@pytest.mark.parametrize(
    "environment", [{"MALLOC_MMAP_THRESHOLD_": "1000000"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=1000000"}]
)
def test_what_the_user_set_holds(environment: dict[str, str]):
    theirs = told(**environment)
    assert theirs["faults"] > theirs["of_one"]


CPU = torch.device("cpu")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the C library is asked for from here on."""
    found: list[Any] = []
    monkeypatch.setattr(freed_memory, "is_set", lambda: False)
    monkeypatch.setattr(freed_memory, "_set", found.append)
    monkeypatch.setattr(freed_memory, "_trim", lambda: found.append("trim"))
    return found


@pytest.mark.skipif(not GLIBC, reason="of the GNU C library")
def test_pages_that_nobody_will_use_go_after_the_first_step_and_from_time_to_time(asked: list[Any]):
    seen: list[int] = []
    with keeping_freed_memory(CPU) as tidy:
        for step in range(1, EVERY + 2):
            before = len(asked)
            tidy()
            seen += [step] * (len(asked) - before)
    assert seen == [1, EVERY + 1]
    assert asked == [freed_memory.KEEPING, "trim", "trim", freed_memory.USUAL, "trim"]


@pytest.mark.skipif(not GLIBC, reason="of the GNU C library")
def test_the_outer_of_two_trainings_goes_on_keeping(asked: list[Any]):
    with keeping_freed_memory(CPU):
        with keeping_freed_memory(CPU):
            pass
        assert freed_memory.USUAL not in asked
    assert asked[-2:] == [freed_memory.USUAL, "trim"]


@pytest.mark.skipif(not GLIBC, reason="of the GNU C library")
def test_a_forked_worker_keeps_nothing(asked: list[Any]):
    with keeping_freed_memory(CPU):
        freed_memory._in_a_child()
        assert asked == [freed_memory.KEEPING, freed_memory.USUAL]
    freed_memory._in_a_child()
    assert asked.count(freed_memory.USUAL) == 2  # that of the child, and that of its end


@pytest.mark.skipif(not GLIBC, reason="of the GNU C library")
def test_a_training_tidies_after_each_step(asked: list[Any]):
    class Model(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
            return {"loss": super().forward(x).mean()}

    model = Model(2, 1)
    trainer = flexit.Trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.1), lambda outputs, batch: outputs["loss"],
        [{"x": torch.ones(3, 2)}], config={"progress": False, "device": "cpu"},
    )  # fmt: skip
    trainer.fit(steps=EVERY + 1)
    assert asked == [freed_memory.KEEPING, "trim", "trim", freed_memory.USUAL, "trim"]
