"""What can be refused without PyTorch is refused before it is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from flexit.cli.app import run
code = run(sys.argv[1:])
print(code, "torch" in sys.modules)
"""


def outcome(folder: Path, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.slow
def test_run_configs_and_targets(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "bad.yaml").write_text("flexit: 1\nsteps: [")
    (tmp_path / "wrong.yaml").write_text("flexit: 1\nmodel: tiny-llama\nsteps: -1\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for arguments, code in (
        (["train", "empty.yaml"], "FX0107"), (["train", "bad.yaml"], "FX0102"), (["train", "wrong.yaml"], "FX0202"),
        (["train", "nothing.yaml"], "FX0100"), (["train", "wrong.yaml", "--set", "steps"], "FX0102"),
        (["export", "tiny-llama", "mine", "--force"], "FX1302"),
        (["export", "tiny-llama", "new", "--carry", "nothing"], "FX2007"),
    ):  # fmt: skip
        result, told = outcome(tmp_path, *arguments)
        assert result == "2 False", told
        assert code in told
