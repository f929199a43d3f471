"""What commands say of a path that leads to another thing than they take: what it is, and what to do instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flexit.cli.app import run
from flexit.errors import UserError
from flexit.ir.io.places import CARRIED, found_at, place_of
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export

FILES = {"a run": ["run.json"], "bundle": ["manifest.json", "spec.json"], "weights": ["model.safetensors", "spec.json"]}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, files in FILES.items():
        Path(folder).mkdir()
        for file in files:
            Path(folder, file).write_text("{}")
    Path("other").mkdir()


def test_what_is_there() -> None:
    found = [place_of(path) for path in (*FILES, "other", "bundle/spec.json", "none")]
    assert found == ["run", "bundle", "checkpoint", "folder", "file", "nothing"]
    assert (found_at("a run"), found_at("none")) == ("a run", "nothing of this name")


@pytest.mark.parametrize(
    ("command", "message", "cure"),
    [
        (("verify", "a run"), "a run is no bundle", "export it first: flexit export 'a run' OUT"),
        (("bench", "weights"), "weights is no bundle", "export it first: flexit export weights OUT"),
        (("verify", "none"), "none is no bundle", "correct the path"),
        (("export", "bundle", "out"), "bundle holds no model", "give what it was exported from"),
        (("export", "a run", "out"), "a run holds no model", "train it first: the run has no checkpoint yet"),
        (("export", "other", "out"), "other holds no model", "give the folder that flexit train wrote"),
        (("generate", "a run"), "a run holds no model", "train it first"),
        (("generate", "none"), "none holds no model", "correct the path"),
        (("show", "a run"), "a folder, not a spec", "give its spec, 'a run/spec.yaml'"),
        (("cost", "bundle"), "a folder, not a spec", "give its spec, bundle/spec.json"),
        (("show", "other"), "a folder, not a spec", "flexit check other checks all of them"),
    ],
)
def test_another_thing_than_the_command_takes(
    command: tuple[str, ...], message: str, cure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command) == 2
    said = capsys.readouterr().err
    assert message in said
    assert f"do: {cure}" in said or cure in said.partition("do: ")[2]


def test_a_file_that_is_not_there_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "none.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "none.yaml: not found\n"
    assert "flexit new --list" in captured.err and "tiny-llama" not in captured.err


def test_what_lies_beside_specs_is_no_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "tiny-llama", "other/spec.yaml"]) == 0
    for name in (*CARRIED, "spec.schema.json"):
        Path("other", name).write_text(json.dumps(["a"]))
    capsys.readouterr()
    assert run(["check", "other"]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["other/spec.yaml"]
    assert run(["check", "other/labels.json"]) == 2


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: open_bundle("a run"), "export it first"),
        (lambda: open_bundle("none"), "correct the path"),
        (lambda: export("bundle", "out"), "flexit.open_bundle('bundle')"),
        (lambda: export("a run", "out"), "'a run/checkpoints'"),
    ],
)
def test_the_library_says_it_too(call, cure: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert cure in caught.value.problems[0].cure
