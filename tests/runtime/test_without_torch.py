"""What serves a bundle runs where neither torch nor onnx is installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

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
def test_generate(bundle: Path) -> None:
    done = alone("generate", str(bundle), "--prompt", "def a", "--max-new-tokens", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("def a")


@pytest.mark.ort
def test_open_bundle(bundle: Path) -> None:
    code = f"{ABSENT}\nimport flexit\nflexit.open_bundle(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
