"""What does not fit into memory is refused with the figures, before anything is allocated."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flexit.errors import ResourceError
from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import load_spec
from flexit.ir.spec import Spec
from flexit.lower.torch import memory
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.export import export
from flexit.runtime.train.run import train

HUGE = """
flexit: 1
name: huge
blocks:
  embed: {kind: embedding, vocab_size: 1000, d_model: 8192}
  decoder:
    kind: stack
    n_layers: 1250
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 64, rotary: {}, mask: causal}
      feed_forward: {kind: mlp, d_ff: 32768}
    final_norm: true
  head: {kind: lm_head}
"""


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A spec of a million million parameters."""
    path = tmp_path / "huge.yaml"
    path.write_text(HUGE)
    return path


def write_config(huge: Path) -> Path:
    (huge.parent / "text.txt").write_text("some words " * 100)
    path = huge.parent / "run.yaml"
    path.write_text(
        "flexit: 1\nmodel: huge.yaml\ntask: causal_lm\nsteps: 1\nout: run\n"
        'data: {train: {kind: text, files: ["*.txt"]}, seq_len: 8, tokenizer: bpe}\n'
    )
    return path


def build(huge: Path) -> None:
    to_torch(load_spec(huge))


def build_half(huge: Path) -> None:
    to_torch(load_spec(huge), dtype=torch.bfloat16)


def begin_training(huge: Path) -> None:
    train(write_config(huge), progress=False)


def begin_export(huge: Path) -> None:
    from flexit.cli.opening import exportable

    exportable(str(huge), (), seed=0, allow_memory=False)


def open_checkpoint(huge: Path) -> None:
    """A checkpoint that says it is huge; its arrays are not even looked at."""
    folder = huge.parent / "checkpoint"
    folder.mkdir()
    from flexit.runtime.train.describe import spec_json

    (folder / "spec.json").write_text(spec_json(load_spec(huge)))
    (folder / "model.safetensors").write_bytes(b"not read")
    export(folder, huge.parent / "out")


def peak() -> int:
    """The largest memory this process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@pytest.mark.parametrize("begin", [build, build_half, begin_training, begin_export, open_checkpoint])
def test_refused_at_once(begin: Callable[[Path], None], huge: Path) -> None:
    assert 0.99e12 < cost(load_spec(huge)).parameters < 1.02e12
    before, start = peak(), time.process_time()
    with pytest.raises(ResourceError, match="needs more memory than there is") as caught:
        begin(huge)
    assert time.process_time() - start < 8.0  # a second alone; more in a process whose heap is full of other tests
    assert peak() - before < 300 * 2**20
    problem = caught.value.problems[0]
    assert problem.code == "FX1703"
    assert re.fullmatch(r"[\d,.]+ GiB at the peak, as predicted", problem.expected)
    assert re.fullmatch(r"[\d,.]+ [KMG]iB available", problem.found)
    assert "--allow-memory" in problem.cure
    assert not (huge.parent / "out").exists()
    assert not (huge.parent / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "show", "cost"])
def test_looking_at_it_is_free(command: str, huge: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flexit", command, str(huge)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1.01T" in done.stdout


@pytest.mark.parametrize("arguments", [["export", "{spec}", "{out}"], ["train", "{run}"]])
def test_on_the_command_line(arguments: list[str], huge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flexit.cli.app import run

    places = {"spec": huge, "out": huge.parent / "out", "run": write_config(huge)}
    assert run([argument.format(**places) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert "FX1703" in told
    assert "--allow-memory" in told


# ---- a machine with little memory


@pytest.fixture
def tiny() -> Spec:
    return load_spec("tiny-gpt2")


def little(patch: pytest.MonkeyPatch, size: int) -> None:
    """Let the machine have so many bytes left."""
    patch.setattr(memory, "available", lambda device=None: size)


def test_to_torch_needs_its_parameters_twice(tiny: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn in fp32 and kept; given weights are there already."""
    count = cost(tiny).parameters
    weights = {name: value.detach() for name, value in to_torch(tiny).named_parameters()}
    little(monkeypatch, 8 * count)
    to_torch(tiny)
    little(monkeypatch, 8 * count - 1)
    with pytest.raises(ResourceError, match="building the model"):
        to_torch(tiny)
    to_torch(tiny, dtype=torch.float16)
    to_torch(tiny, weights)
    to_torch(tiny, allow_memory=True)
    little(monkeypatch, 4 * count - 1)
    with pytest.raises(ResourceError, match="building the model"):
        to_torch(tiny, weights)


@pytest.mark.ort
def test_export_of_a_module(tiny: Spec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = to_torch(tiny)
    little(monkeypatch, 1000)
    with pytest.raises(ResourceError, match="exporting"):
        export(module, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export(module, tmp_path / "out", allow_memory=True).manifest["name"] == "tiny-gpt2"


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("what", ["spec", "checkpoint"])
def test_allowed_on_the_command_line(
    what: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flexit.cli.app import run

    command = ["export", "tiny-gpt2" if what == "spec" else str(checkpoint), str(tmp_path / "out")]
    little(monkeypatch, 1000)
    assert run(command) == 2
    assert "FX1703" in capsys.readouterr().err
    assert run([*command, "--allow-memory"]) == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["format"] == 1


def test_the_limit_of_a_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert memory.available() == 600_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() > 600_000
