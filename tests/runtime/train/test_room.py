"""Memory that runs out in a step: what to lower, with the figures of the cost model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flexit.errors import ResourceError
from flexit.ir.io.load import load_spec
from flexit.ir.spec import Spec
from flexit.lower.torch.memory import size
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.read import parse_config
from flexit.runtime.train.resources.memory import training_memory
from flexit.runtime.train.resources.room import moments_of
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy
from tests.runtime.train.plain import batches, mean_loss, trainer

NO_ROOM = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 123456 bytes."
)
CONFIG = """flexit: 1
model: tiny-llama
set: ["blocks.embed.vocab_size=300"]
task: causal_lm
data: {{train: {{kind: text, files: [a]}}, seq_len: {seq}, tokenizer: bpe}}
batch: {{size: {rows}}}
out: run
steps: 3
{more}
"""


def predicted(spec: Spec, more: str = "", *, rows: int = 8, seq: int = 64) -> str:
    config, _ = parse_config(CONFIG.format(rows=rows, seq=seq, more=more))
    return size(training_memory(to_torch(spec).program, config))


@pytest.mark.parametrize(
    "error", [RuntimeError(NO_ROOM), torch.OutOfMemoryError("CUDA out of memory."), MemoryError()], ids=type
)
def test_each_cure_has_its_figure(error: Exception):
    spec = load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300"])

    class Full(CrossEntropy):
        def main(self, outputs, batch):  # type: ignore[no-untyped-def]
            raise error

    model = to_torch(spec)
    ids = torch.zeros((8, 64), dtype=torch.int64)
    run = Trainer(
        model, torch.optim.AdamW(model.parameters()), Full(), [{"input_ids": ids, "labels": ids}],
        config={"progress": False, "accumulate": 2, "device": "cpu"},
    )  # fmt: skip
    with pytest.raises(ResourceError) as caught:
        run.fit(steps=1)
    (problem,) = caught.value.problems
    assert problem.code == "FX1703"
    assert problem.expected == f"{predicted(spec)} at the peak, as predicted for 8 rows"
    assert problem.found.startswith("no room for 123,456 bytes more; " if "alloc_cpu" in str(error) else "no room for ")
    assert problem.cure == (
        f"lower one or more: batch.size 4 with accumulate 4 ({predicted(spec, rows=4)}); "
        f"data.seq_len 32 ({predicted(spec, seq=32)}); recompute: true ({predicted(spec, 'recompute: true')}); "
        f"an optimizer without moments, such as adafactor ({predicted(spec, 'optimizer: sgd')}). "
        "The newest checkpoint is as it was"
    )


def test_a_module_of_no_spec_and_other_errors(tmp_path: Path):
    def full(outputs: object, batch: object) -> torch.Tensor:
        raise MemoryError

    with pytest.raises(ResourceError, match=r"FX1703: step 1 (.|\n)*use smaller batches with a higher accumulate"):
        trainer(batches(3), loss_fn=full).fit(steps=1)

    def wrong(outputs: object, batch: object) -> torch.Tensor:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        trainer(batches(3), loss_fn=wrong).fit(steps=1)
    held_out = trainer(batches(3), loss_fn=full, held_out=batches(1), evaluate={"every": 1})
    with pytest.raises(ResourceError, match="FX1703: the evaluation after step 0 needs more memory"):
        held_out.evaluate()


def test_moments_of_an_optimizer():
    model = torch.nn.Linear(3, 4)
    loss = mean_loss(model(torch.ones(2, 3)), {"labels": torch.tensor([0, 1])})
    loss.backward()
    for optimizer, count in (
        (torch.optim.AdamW(model.parameters()), 2), (torch.optim.SGD(model.parameters()), 0),
        (torch.optim.SGD(model.parameters(), momentum=0.5), 1), (torch.optim.Adafactor(model.parameters()), 0),
    ):  # fmt: skip
        assert moments_of(optimizer) == count
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)
    optimizer.step()
    assert moments_of(optimizer) == 3


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a process is bounded as Linux does it")
def test_a_run_that_the_system_gives_no_memory(tmp_path: Path, write_config: Callable[..., Path]):
    config = write_config(
        batch="{size: 256}", data="{train: {kind: text, files: ['corpus/*.py']}, seq_len: 512, tokenizer: bytes}",
        evaluate="", steps="3", checkpoint="{every: 3}", schedule="constant",
    )  # fmt: skip
    code = textwrap.dedent("""
        import re, resource, sys
        from pathlib import Path
        import flexit.runtime.train.run
        from flexit.cli import main
        taken = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (taken + 400 * 2**20,) * 2)
        main(sys.argv[1:])
    """)
    command = [sys.executable, "-c", code, "train", str(config), "--allow-memory"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "FX1703: step 1 needs more memory than there is" in done.stderr
    assert re.search(r"batch\.size 128 with accumulate 2 \([\d.]+ GiB\); data\.seq_len 256 \(", done.stderr)
    assert "Traceback" not in done.stderr
