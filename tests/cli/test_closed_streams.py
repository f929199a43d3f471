"""Commands whose standard streams are closed or full end as they would otherwise, without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ("check tiny-llama", "show tiny-llama", "cost tiny-llama", "kinds", "new --list", "schema spec", "--version")


def started(folder: Path, arguments: str, redirected: str) -> tuple[int, str]:
    """The exit code and standard error of a command."""
    script = f'exec "$0" -m flexit {arguments} {redirected}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", COMMANDS)
def test_standard_output_is_closed(tmp_path: Path, arguments: str) -> None:
    assert started(tmp_path, arguments, ">&-") == (0, "")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_is_written_goes_into_no_other_file(tmp_path: Path, closed: str) -> None:
    code, told = started(tmp_path, "new tiny-llama here.yaml", closed)
    assert (code, told) == (0, "")
    assert started(tmp_path, "new tiny-llama there.yaml", "") == (0, "")
    assert (tmp_path / "here.yaml").read_text() == (tmp_path / "there.yaml").read_text()
    assert started(tmp_path, "check nothing-of-this-name", closed)[0] == 2


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("arguments", ["generate B --prompt x --max-new-tokens 2", "bench B --new 2", "verify B"])
def test_bundles(bundle: Path, tmp_path: Path, arguments: str) -> None:
    code, told = started(tmp_path, arguments.replace("B", str(bundle)), ">&-")
    assert code == 0
    assert "FX" not in told


@pytest.mark.slow
@pytest.mark.ort
def test_texts_from_a_closed_input(bundle: Path, tmp_path: Path) -> None:
    code, told = started(tmp_path, f"embed {bundle} --file -", "<&-")
    assert code == 2
    assert told.startswith("FX2103")


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk_names_what_could_not_be_written(bundle: Path, tmp_path: Path) -> None:
    for arguments in ("check tiny-llama", f"generate {bundle} --prompt x --max-new-tokens 2"):
        code, told = started(tmp_path, arguments, ">/dev/full")
        assert code == 2
        assert "FX1304 standard output: the system refused" in told
