"""What serves a bundle runs where neither torch nor onnx is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flexit.runtime.bundles.export import export
from tests.texts import MOODS, write_model

ABSENT = textwrap.dedent("""
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("torch", "onnx", "onnx_ir", "onnxscript", "transformers"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Absent())
""")


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"{ABSENT}\nfrom flexit.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_torch_is_absent_indeed(checkpoint: Path) -> None:
    done = alone("generate", str(checkpoint), "--prompt", "def", "--max-new-tokens", "3")
    assert done.returncode != 0
    assert "No module named 'torch'" in done.stderr


@pytest.mark.ort
def test_verify(bundle: Path) -> None:
    done = alone("verify", str(bundle))
    assert done.returncode == 0, done.stderr
    assert "holds here" in done.stdout


@pytest.mark.ort
def test_tasks_on_texts(tmp_path: Path) -> None:
    export(write_model(tmp_path / "model", MOODS, labels=["bad", "so-so", "good"]), tmp_path / "bundle")
    done = alone("classify", str(tmp_path / "bundle"), "a cat", "very good", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"] == ["bad", "so-so", "good"]
    assert len(json.loads(done.stdout)["results"]) == 2


@pytest.mark.ort
def test_bench(bundle: Path) -> None:
    done = alone("bench", str(bundle), "--prompt", "4", "--new", "2", "--repetitions", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert [each["session"] for each in json.loads(done.stdout)["sessions"]] == ["ONNX Runtime"]


@pytest.mark.ort
def test_generate(bundle: Path) -> None:
    done = alone("generate", str(bundle), "--prompt", "def a", "--max-new-tokens", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("def a")


@pytest.mark.ort
def test_open_bundle(bundle: Path) -> None:
    code = f"{ABSENT}\nimport flexit\nflexit.open_bundle(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
