"""The README does what it says: its Python blocks run in order, its commands give the output it shows."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from flexit.cli.app import run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
MISTAKES = {"rotary: {}": "rotery: {}", "n_kv_heads: 2": "n_kv_heads: 3"}


def of(language):
    return [text for found, text in BLOCKS if found == language]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the README says to save."""
    monkeypatch.chdir(tmp_path)
    spec, config = of("yaml")
    Path("tiny.yaml").write_text(spec)
    Path("run.yaml").write_text(config)
    mistaken = spec
    for right, wrong in MISTAKES.items():
        mistaken = mistaken.replace(right, wrong, 1)
    Path("mistaken.yaml").write_text(mistaken)
    Path("corpus").mkdir()
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        shutil.copyfile(page, Path("corpus") / f"{page.stem}-{page.parent.name}.txt")
    return tmp_path


def sessions():
    """Each command of the console blocks with the lines that it is said to print."""
    for text in of("console"):
        for command, *shown in (part.splitlines() for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part):
            yield command, shown


def matches(shown, printed):
    """Whether every line shown stands in the output in this order; ``...`` is any text, alone any lines."""
    pattern = r"\n".join(
        r"(?:.*\n?)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") for line in shown
    )
    return re.match(f"{pattern}(\n|$)", printed) is not None


@pytest.mark.ort
@pytest.mark.slow
def test_the_commands_print_what_they_are_said_to(folder, capfd):
    assert len(list(sessions())) == 7
    for command, shown in sessions():
        program, *arguments = shlex.split(command)
        assert program == "flexit"
        code = run(arguments)
        out, err = capfd.readouterr()
        assert code == (2 if "mistaken" in command else 0), err
        printed = out + err if "mistaken" in command else out
        assert matches(shown, printed), f"$ {command}\n{printed}"


def test_what_is_shown_is_compared():
    assert matches(["a", "...", "b ..."], "a\nx\ny\nb 1\n")
    assert not matches(["a", "b"], "a\nc\n")


@pytest.mark.ort
def test_the_tour_of_the_library_runs(folder):
    blocks = of("python")
    assert len(blocks) == 6
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    assert scope["logits"].shape == (2, 12, 1000)
    commands = re.findall(r"^flexit \w+ moods .*$", README, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "flexit"
        assert run(arguments) == 0
    assert Path("vectors.npy").exists()
