"""Twenty-five kills at random moments, over every task: what goes on ends with the bits of a run that was not killed.

A process that has loaded PyTorch forks one for each start of a run, and kills it: at once where a file of a checkpoint
is about to be made durable, or some milliseconds after an event (a forward, a line of metrics, a durable file).
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from flexit.ir import registry
from flexit.ir.io.load import load_spec
from flexit.ir.shrink import shrink
from flexit.runtime.train.task import Task
from tests.runtime.train.test_resume import contents

FORKS = textwrap.dedent("""
    import json, os, signal, sys, time
    import tokenizers, torch
    from flexit.files import folder
    from flexit.lower.torch import module
    from flexit.runtime.train.update import loss, step
    from flexit.runtime.train import run
    from flexit.runtime.train.callbacks.metrics import Metrics

    def start(config, at, inside, told):
        events = 0

        def event(in_checkpoint=False):
            nonlocal events
            events += not inside or in_checkpoint
            if at and events == at and (not inside or in_checkpoint):
                if inside:
                    os.kill(os.getpid(), signal.SIGKILL)
                os.write(told, b"now")

        def counted(function, *, files=False):
            def call(*args, **kwargs):
                event(files and "step-" in str(args[0]))
                return function(*args, **kwargs)
            return call

        os.fsync = lambda handle: None  # a kill takes nothing from the system's memory
        folder.sync_file = counted(folder.sync_file, files=True)
        step.forward, Metrics._write = counted(step.forward), counted(Metrics._write)
        result = run.train(config, progress=False)
        os.write(told, json.dumps([result.step, events]).encode())

    for line in sys.stdin:
        config, at, inside, delay = json.loads(line)
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                start(config, at, inside, theirs)
            finally:
                sys.stderr.flush()
                os._exit(0)
        os.close(theirs)
        said = os.read(ours, 100)
        if said == b"now":
            time.sleep(delay)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(ours)
        print(json.dumps([said.decode(), os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0]), flush=True)
""")

RUN = """flexit: 1
model: {model}
task: {task}
data:
  train: {{kind: jsonl, files: [../data.jsonl]}}
  validation: {{split: 0.2}}
  seq_len: 16
  tokenizer: characters
  columns: {columns}
  workers: {workers}
batch: {{size: 4, accumulate: 2}}
ema: {{decay: 0.9}}
schedule: {{kind: cosine, warmup: 2}}
steps: 10
threads: 1
device: cpu
evaluate: {{every: 2, max_batches: 1}}
checkpoint: {{every: 2, keep_last: 2, keep_best: 1}}
log: {{every: 1}}
out: run
"""

MARK = "FLEXIT_TEST_KILLED"
COLUMNS = {
    "causal_lm": {}, "masked_lm": {}, "span_corruption": {}, "seq2seq": {"source": "text", "target": "turned"},
    "sequence_classification": {"label": "class"}, "token_classification": {"labels": "classes"},
    "regression": {"label": "number"}, "contrastive": {"anchor": "text", "positive": "turned"},
}  # fmt: skip
"""What the tasks read of the one file."""


def spec_of(task: str) -> str:
    """A model as small as it goes, with dropout where its preset has some."""
    classifier = load_spec("tiny-bert-classifier", sets=["blocks.embed.vocab_size=80"]).to_yaml()
    found = {
        "causal_lm": lambda: load_spec(
            "tiny-llama", sets=["blocks.embed.vocab_size=80", "blocks.decoder.layer.dropout=0.1"]
        ).to_yaml(),
        "masked_lm": lambda: shrink(load_spec("bert-base")).to_yaml(),
        "contrastive": lambda: shrink(load_spec("mpnet-base")).to_yaml(),
        "regression": lambda: classifier.replace("kind: sequence_classifier", "kind: regression").replace(
            "n_labels: 3", "n_labels: 1"
        ),
        "sequence_classification": lambda: classifier.replace("n_labels: 3", "n_labels: 2"),
        "token_classification": lambda: re.sub("head: .*", "head: {kind: token_classifier, n_labels: 2}", classifier),
    }
    return found.get(task, lambda: load_spec("tiny-t5").to_yaml())()


def records() -> str:
    chance = random.Random(0)
    lines: list[str] = []
    for _ in range(120):
        words = ["".join(chance.choices("abcdef", k=chance.randrange(1, 6))) for _ in range(chance.randrange(2, 9))]
        lines.append(json.dumps({
            "text": " ".join(words), "turned": " ".join(reversed(words)), "tokens": words,
            "class": "even" if len(words) % 2 == 0 else "odd", "number": len(words) / 4,
            "classes": ["long" if len(word) > 3 else "short" for word in words],
        }))  # fmt: skip
    return "\n".join(lines)


class Forks:
    """The process that starts and kills."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", MARK: str(os.getpid())},
        )  # fmt: skip

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()  # which processes of a loader may hold a moment longer

    def __call__(self, config: Path, *, at: int = 0, inside: bool = False, delay: float = 0.0) -> tuple[str, int]:
        """What a run said, and the signal that it died of."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(config), at, inside, delay]) + "\n")
        self.process.stdin.flush()
        said, number = json.loads(self.process.stdout.readline())
        return said, number

    def processes(self) -> list[int]:
        """Every process with its environment, those that the killed ones left too."""
        return [each.pid for each in psutil.process_iter(["environ"]) if MARK in (each.info["environ"] or {})]

    def whole(self, config: Path) -> int:
        """Let a run come to its end; how many events it had."""
        said, number = self(config)
        assert number == 0
        step, events = json.loads(said)
        assert step == 10
        return events


def write(folder: Path, name: str, task: str, *, workers: int = 0) -> Path:
    (folder / name).mkdir()
    (folder / name / "spec.yaml").write_text(spec_of(task))
    config = folder / name / "run.yaml"
    config.write_text(RUN.format(model="spec.yaml", task=task, columns=json.dumps(COLUMNS[task]), workers=workers))
    return config


def of_run(folder: Path) -> dict[str, bytes]:
    found: dict[str, Any] = contents(folder)
    del found["run.json"]  # which has the paths and the number of workers
    return found


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_twenty_five_kills(tmp_path: Path):
    registry.names(Task)
    assert set(COLUMNS) == set(registry.names(Task))
    (tmp_path / "data.jsonl").write_text(records())
    seed = int(os.environ.get("FLEXIT_KILLS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FLEXIT_KILLS_SEED={seed}")
    with Forks() as forks:
        kill_all(tmp_path, random.Random(seed), forks)


def kill_all(tmp_path: Path, chance: random.Random, forks: Forks) -> None:
    kills = 0
    for task in sorted(COLUMNS):
        whole, parts = write(tmp_path, f"{task}-whole", task), write(tmp_path, f"{task}-parts", task)
        events = forks.whole(whole)
        plan = [(True, chance.randint(1, 12), 0.0)]
        plan += [(False, chance.randint(1, events // 4), chance.uniform(0, 0.03)) for _ in range(2)]
        chance.shuffle(plan)
        for inside, at, delay in plan:
            said, number = forks(parts, at=at, inside=inside, delay=delay)
            assert number == 9, f"{task}: {said} at {at} of {events}, inside: {inside}"
            kills += 1
        forks.whole(parts)
        assert differing(whole.parent / "run", parts.parent / "run") == [], f"{task}: {plan}"
    more = write(tmp_path, "workers", "causal_lm", workers=2)
    before = set(forks.processes())
    assert forks(more, at=chance.randint(12, 30), delay=chance.uniform(0, 0.03))[1] == 9
    kills += 1
    patience = time.monotonic() + 30
    while set(forks.processes()) - before and time.monotonic() < patience:
        time.sleep(0.1)
    assert set(forks.processes()) - before == set(), "worker processes outlive their run"
    forks.whole(more)
    assert differing(tmp_path / "causal_lm-whole" / "run", tmp_path / "workers" / "run") == []
    assert kills == 25


def differing(one: Path, other: Path) -> list[str]:
    """Files of which there is one, or that differ."""
    ones, others = of_run(one), of_run(other)
    return sorted(name for name in {*ones, *others} if ones.get(name) != others.get(name))
