"""Every command with arguments that make no sense: exit code 2, a code, what to do, and no traceback."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flexit.cli.app import run
from tests.saved import spoilt

Place = Callable[[Path], Path]


def missing(folder: Path) -> Path:
    return folder / "nothing"


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def empty_file(folder: Path) -> Path:
    (folder / "empty.yaml").touch()
    return folder / "empty.yaml"


def binary_file(folder: Path) -> Path:
    (folder / "binary.yaml").write_bytes(os.urandom(1000) + b"\0\xff")
    return folder / "binary.yaml"


def huge_file(folder: Path) -> Path:
    (folder / "huge.yaml").write_bytes(b"a: 1\n" * 200_000)
    return folder / "huge.yaml"


def deep_file(folder: Path) -> Path:
    (folder / "deep.json").write_bytes(b"[" * 100_000)
    return folder / "deep.json"


def below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "below"


def device(folder: Path) -> Path:
    del folder
    return Path("/dev/null")


def dangling_link(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "nowhere")
    return folder / "link"


def endless_link(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


PLACES: tuple[Place, ...] = (
    missing, empty_folder, empty_file, binary_file, huge_file, deep_file, below_a_file, device, dangling_link,
    endless_link, long_name,
)  # fmt: skip
COMMANDS = (
    ["check", "{}"], ["show", "{}"], ["cost", "{}"], ["new", "{}"], ["train", "{}"], ["export", "{}", "out"],
    ["verify", "{}"], ["generate", "{}"],
)  # fmt: skip


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The code with which a command refuses."""
    assert run([str(argument) for argument in arguments]) == 2
    told = capsys.readouterr()
    found = re.search(r"FX\d{4}", told.err)
    assert found is not None, told.err
    assert "do: " in told.err
    assert "Traceback" not in told.err
    return found[0]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_place_that_is_none(
    command: list[str], place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = place(tmp_path)
    refused(capsys, *(argument.format(where) for argument in command))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_what_may_not_be_read(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the system refuses it to others than root."""
    real = Path.open
    (tmp_path / "locked").write_text("flexit: 1\n")

    def opened(path: Path, *args: object, **kwargs: object) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(Path, "open", opened)
    refused(capsys, *(argument.format("locked") for argument in command))


def test_what_may_not_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert refused(capsys, "new", "tiny-llama", "file/new.yaml") == "FX1304"
    assert refused(capsys, "new", "tiny-llama", "folder", "--force") == "FX1302"
    assert refused(capsys, "schema", "--out", "file/schema.json") == "FX1304"
    assert refused(capsys, "export", "tiny-llama", "file/out") == "FX1304"
    assert refused(capsys, "export", "tiny-llama", "file") == "FX1302"


SPOILT = {
    "spec.json": (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"flexit": 1}', b'{"flexit": NaN}'),
    "model.safetensors": (b"", b"\xff" * 100, b"\xff" * 8 + b"{}", b"\x02\0\0\0\0\0\0\0{}"),
    "tokenizer.json": (b"", b"{}", b"\xff", b"null"),
    "generation_config.json": (b"", b"[]", b"null", b'{"eos_token_id": "x"}', b'{"bos_token_id": -1}', b"[" * 100_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_checkpoint(name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    for content in SPOILT[name]:
        (folder / name).write_bytes(content)
        refused(capsys, "generate", folder, "--prompt", "def")
        if name in ("spec.json", "model.safetensors"):
            refused(capsys, "export", folder, "out")
            assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_model(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    data = json.loads((folder / "spec.json").read_text())
    data["blocks"]["embed"]["d_model"] = 64
    (folder / "spec.json").write_text(json.dumps(data))
    assert refused(capsys, "generate", folder, "--prompt", "def") == "FX2002"
    assert refused(capsys, "export", folder, "out") == "FX2002"


def test_a_tokenizer_of_another_model(
    checkpoint: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    data = json.loads((folder / "tokenizer.json").read_text())
    data["model"]["vocab"] = {token: row + 5000 for token, row in data["model"]["vocab"].items()}
    data["added_tokens"] = []
    text = json.dumps(data)
    (folder / "tokenizer.json").write_text(text)
    assert refused(capsys, "generate", folder, "--prompt", "def") == "FX2001"
    strange = spoilt(bundle, tmp_path / "bundle", tokenizer__json=text.encode())
    assert refused(capsys, "generate", strange, "--prompt", "def") == "FX2001"


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"], ["show", "tiny-llama", "more"], ["cost", "--seq"],
        ["train"], ["export", "tiny-llama"], ["verify"], ["generate"], ["no-such-command"], ["--no-such-option"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert "Usage: flexit" in told.err + told.out or "Error: " in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("arguments", "expected", "found"),
    [
        (["cost", "tiny-llama", "--batch", "0"], "greater than or equal to 1", "0"),
        (["cost", "tiny-llama", "--batch=-3"], "greater than or equal to 1", "-3"),
        (["cost", "tiny-llama", "--batch", "9" * 20], "less than or equal to 2147483647", "9" * 20),
        (["check", "tiny-llama", "--max-bytes", "0"], "greater than or equal to 1", "0"),
        (["check", "tiny-llama", "--max-bytes", "none"], "a valid integer", "none"),
        (["generate", "x", "--max-new-tokens", "0"], "greater than or equal to 1", "0"),
        (["export", "tiny-llama", "out", "--seed", "-1"], "greater than or equal to 0", "-1"),
        (["demo", "--steps", "nan"], "a valid integer", "nan"),
    ],
)
def test_values_that_options_do_not_take(
    arguments: list[str], expected: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr()
    option = next(argument for argument in arguments if argument.startswith("--")).partition("=")[0]
    assert told.err == (
        f"FX1111 {option}: the option does not take this value\n  expected {expected}; found {found}\n"
        f"  do: correct it; flexit {arguments[0]} --help lists the options\n"
    )
    assert told.out == ""


def test_numbers_out_of_range(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--temperature", "-1"], ["--temperature", "nan"], ["--top-k", "0"]):
        assert refused(capsys, "generate", bundle, "--prompt", "a", *options) == "FX2003"
    lengths = ("0", "-1", "many", "x=1", "", "=1", "nan", "1e3", "9" * 30, "[/x]=1")
    for options in (*(["--seq", length] for length in lengths), ["--seq", "seq=4", "--seq", "seq=5"]):
        assert refused(capsys, "cost", "tiny-llama", *options) in ("FX1101", "FX1102")
    assert refused(capsys, "generate", bundle, "--prompt", "a", "--source", "b") == "FX1105"


def test_nothing_is_shown_before_it_is_known_to_be_right(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--source", "b"], ["--temperature", "-1"], ["--prompt", "\udcff"]):
        assert run(["generate", str(bundle), "--prompt", "a prompt", *options]) == 2
        told = capsys.readouterr()
        assert told.out == ""
    assert run(["generate", str(bundle), "--prompt", "a", "--source", "b"]) == 2
    assert "do: leave --source out" in capsys.readouterr().err


def test_json_is_json_whatever_happens(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.yaml").write_text('{flexit: 1, name: "[/x]\\e[31m", blocks: {}}')
    Path("[x] ü.yaml").write_bytes(b"\xff")
    commands = (["check"], ["cost"], ["verify"])
    for command, file in ((command, file) for command in commands for file in ("bad.yaml", "[x] ü.yaml", "nothing")):
        assert run([*command, file, "--json"]) == 2
        told = json.loads(capsys.readouterr().out)
        problems = told["problems"] if "problems" in told else told["files"][0]["problems"]
        assert all(problem["code"] and problem["cure"] for problem in problems)
    for command, good in (("check", "tiny-llama"), ("cost", "tiny-llama"), ("verify", str(bundle))):
        assert run([command, good, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": "xterm"}])
def test_colour_only_where_it_is_wanted(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    run(["check", "nothing"])
    run(["kinds"])
    told = capsys.readouterr()
    coloured = variables == {"TERM": "xterm"}
    assert ("\x1b[" in told.err, "\x1b[" in told.out) == (coloured, coloured)


def test_a_file_is_asked_for_where_a_folder_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["new", "tiny-llama", "."]) == 2
    found = re.search(r"do: write (.*)", capsys.readouterr().err)
    assert found is not None
    assert run(["new", "tiny-llama", found[1]]) == 0
