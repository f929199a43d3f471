"""``docs/fine-tuning.md`` does what it says: its commands run in order and print what they show."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from flexit.cli.app import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fine-tuning.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```yaml\n# ([\w.]+)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [part.splitlines() for text in re.findall(r"```console\n\$ (.*?)```", PAGE, re.DOTALL) for part in [text]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)
    Path("corpus").mkdir()
    for page in (ROOT / "docs").glob("[a-f]*.md"):
        shutil.copyfile(page, Path("corpus") / f"{page.stem}.txt")
    lines = [line for line in PAGE.splitlines() if len(line) > 60]
    rows = [{"text": line, "label": str(number % 2)} for number, line in enumerate(lines)]
    Path("reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def require_shown(shown, printed):
    """Each line that is shown stands in the output, in this order; ``...`` is any text, alone any lines."""
    lines, between = iter(printed.splitlines()), False
    for line in shown:
        if line == "...":
            between = True
            continue
        pattern = re.escape(line).replace(r"\.\.\.", ".*")
        passed = []
        for found in lines:
            if re.fullmatch(pattern, found):
                break
            passed.append(found)
        else:
            raise AssertionError(f"{line} is not in\n{printed}")
        assert between or not passed, f"{passed} before {line}"
        between = False


@pytest.mark.slow
@pytest.mark.ort
def test_the_commands_print_what_they_are_said_to(folder, capfd):
    assert len(COMMANDS) == PAGE.count("```console")
    told = {}
    for command, *shown in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "flexit"
        code = run(arguments)
        out, err = capfd.readouterr()
        told[command] = err
        assert code == 0, err
        require_shown(shown, out)
    assert re.search(r"`(\d+ kept, .*?)`", PAGE)[1] in told["flexit train second.yaml"]
