"""Cures that are followed to the letter: what a message says to write or to run is then accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from flexit.cli.app import run

WORDS = "some words that a small model can learn from, again and again. "
ROOM = ("--set", 'set=["blocks.embed.vocab_size=300"]')
"""The presets have fewer rows than a byte-level tokenizer has tokens."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(WORDS * 400)
    assert run(["new", "tiny-llama", "spec.yaml"]) == 0
    capsys.readouterr()


def cures(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """What a command that refuses says to do."""
    assert run(arguments) == 2
    found = re.findall(r"^  do: (.*)$", capsys.readouterr().err, re.MULTILINE)
    assert found
    return found


def followed(command: list[str], cure: str) -> list[str]:
    """The command with the ``--set`` that a cure gives."""
    return [*command, *shlex.split(cure[cure.index("--set") :].partition(", in quotes")[0])]


def run_config(cure: str) -> None:
    """Write the run config that a cure gives as ``run.yaml``."""
    found = re.search(r"such as (\{.*\}), and give that", cure)
    assert found is not None, cure
    Path("run.yaml").write_text(found[1])


@pytest.mark.parametrize("given", ["spec.yaml", "tiny-llama"])
def test_a_spec_in_place_of_a_run_config(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    (cure,) = cures(capsys, "train", given)
    run_config(cure)
    assert run(["train", "run.yaml", "--set", "steps=1", *ROOM]) == 0
    (cure,) = cures(capsys, "train", "runs/first")
    assert "whose out is this folder" in cure


@pytest.mark.parametrize("command", ["check", "show", "cost"])
def test_a_run_config_in_place_of_a_spec(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my runs").mkdir()
    run_config(cures(capsys, "train", "spec.yaml")[0])
    Path("run.yaml").rename("my runs/run.yaml")
    Path("spec.yaml").rename("my runs/spec.yaml")
    Path("text.txt").rename("my runs/text.txt")
    (cure,) = cures(capsys, command, "my runs/run.yaml")
    model, _, started = cure.removeprefix("give the model that it names, ").partition(", or start it with flexit ")
    assert run([command, *shlex.split(model)]) == 0
    assert run([*shlex.split(started), "--set", "steps=1", *ROOM]) == 0


def test_an_empty_run_config(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").touch()
    (cure,) = cures(capsys, "train", "run.yaml")
    assert cure == "write the keys flexit, model, task, data, steps and out"
    Path("run.yaml").write_text("flexit: 1\n")
    lines = [cure.removeprefix("add ") for cure in cures(capsys, "train", "run.yaml")]
    Path("run.yaml").write_text("\n".join(["flexit: 1", *lines]).replace("tiny.yaml", "spec.yaml"))
    Path("corpus").mkdir()
    Path("text.txt").rename("corpus/text.txt")
    assert run(["train", "run.yaml", *ROOM]) == 0


@pytest.mark.parametrize("wrong", ["blocks=1", "blocks=", "name=3", "blocks.decoder.n_layers=x", "blocks.decoder=5"])
def test_an_override_of_a_spec(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    (cure, *_) = cures(capsys, "show", "spec.yaml", "--set", wrong)
    if "--set" in cure:
        assert run(followed(["show", "spec.yaml"], cure)) == 0
    else:
        assert (wrong, cure) == ("blocks.decoder=5", "write a mapping with its kind")


@pytest.mark.parametrize("wrong", ["steps=", "data.tokenizer=3", "data.train=1", "data=1", "out=3"])
def test_an_override_of_a_run_config(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_config(cures(capsys, "train", "spec.yaml")[0])
    Path("corpus").mkdir()
    Path("text.txt").rename("corpus/text.txt")
    start = ["train", "run.yaml", *ROOM, "--set", "steps=1", "--set", 'data.train.files=["corpus/*"]']
    (cure,) = cures(capsys, *start, "--set", wrong)
    assert run(followed(start, cure)) == 0
