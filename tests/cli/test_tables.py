"""Tables fit the terminal that they are shown on; in a pipe a row is a line."""

import os
import pty
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "flexit", "new", "--list"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such terminals")
def test_presets_on_a_terminal_of_80_columns():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    with subprocess.Popen(COMMAND, stdout=theirs, env=environment) as process:
        os.close(theirs)
        text = ""
        try:
            while piece := os.read(ours, 65536):
                text += piece.decode()
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(ours)
    lines = text.splitlines()
    assert process.returncode == 0
    assert max(map(len, lines)) <= 80
    piped = subprocess.run(COMMAND, capture_output=True, text=True, check=True).stdout
    assert " ".join(lines).split() == piped.split()
    assert len(lines) > len(piped.splitlines())
