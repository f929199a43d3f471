"""Every example is a valid run, its page names it, and its scripts read what the packages hold."""

import email
import email.policy
import importlib
import re
from pathlib import Path

import pytest

from examples.pronunciation import prepare as pronunciation
from examples.pronunciation.words import word_error
from examples.spam import prepare as spam
from examples.splitting import part_of
from flexit.cli.app import run
from flexit.runtime.train.read import read_config

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/run.yaml"))
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FOLDERS)
def test_its_files_are_valid(name, capsys):
    config, _ = read_config(EXAMPLES / name / "run.yaml")
    assert run(["check", str(EXAMPLES / name / config.model)]) == 0
    assert config.out == f"../../runs/{name}" or name == "positions"


def test_the_page_has_a_part_for_each():
    assert sorted(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) == FOLDERS
    for command in re.findall(r"python -m (examples\.\S+)", PAGE):
        assert (EXAMPLES.parent / f"{command.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("script", sorted(path.stem for path in EXAMPLES.glob("*/*.py") if path.stem != "__init__"))
def test_its_scripts_are_importable(script):
    for path in EXAMPLES.glob(f"*/{script}.py"):
        assert importlib.import_module(f"examples.{path.parent.name}.{script}").__doc__


def test_words_and_their_ways():
    lines = "aalborg AO1 L B AO0 R G # place, danish\naalborg(2) AA1 L B AO0 R G\n'bout B AW1 T\n"
    known = [("aalborg", "AO L B AO R G"), ("aalborg", "AA L B AO R G"), ("'bout", "B AW T")]
    assert list(pronunciation.words(lines)) == known
    ways = {"aalborg": {"AO L B AO R G", "AA L B AO R G"}, "'bout": {"B AW T"}}
    assert word_error({"aalborg": "AA L B AO R G", "'bout": "B UW T"}, ways) == 0.5


def test_shares_of_the_words():
    parts = [part_of(f"word{number}", pronunciation.SHARES) for number in range(4000)]
    assert abs(parts.count("test") / 4000 - 0.10) < 0.02
    assert abs(parts.count("validation") / 4000 - 0.01) < 0.006


def test_the_text_of_a_mail():
    head = "Received: from a by b\nSubject: Win\nContent-Type: text/html; charset=utf-8\n\n"
    mail = f"{head}<p>Free &amp; <b>easy</b></p><script>x</script>"
    read = email.message_from_string(mail, policy=email.policy.default)
    assert spam.text_of(read) == "Win: Free & easy"
    odd = email.message_from_string(
        "Subject: Odd\nContent-Type: text/plain; charset=nowhere\n\ntext", policy=email.policy.default
    )
    assert spam.text_of(odd) == "Odd: text"
