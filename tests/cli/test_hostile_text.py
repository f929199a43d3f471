"""Text of the user's is shown as text: no markup, no escape sequence, no mark that turns a line around."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tokenizers
from tokenizers.models import WordLevel

from tests.saved import spoilt

pytestmark = pytest.mark.slow
FLEXIT = [sys.executable, "-m", "flexit"]

HOSTILE = {
    "a closing tag": "[/x]",
    "a tag": "[a]",
    "a style": "[bold red]loud[/bold red]",
    "a link": "[link=http://example.org]here[/link]",
    "an unclosed bracket": "[",
    "an emoji code": ":smile:",
    "colour": "\x1b[31mred\x1b[0m",
    "a title": "\x1b]0;mine\x07",
    "a hyperlink": "\x1b]8;;http://example.org\x1b\\here",
    "a screen wiped": "\x1b[2J\x1b[H",
    "a C1 sequence": "\x9b31mred",
    "a line overwritten": "FX0100\rvalid",
    "a backspace": "bad\b\b\bgood",
    "a bell": "\x07",
    "right to left": "\u202etxt.exe",
    "isolates": "\u2066\u2069\u200f",
    "no width": "in\u200bvisible\ufeff",
    "a line separator": "one\u2028two",
}
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def escaped(text: str) -> str:
    """How hostile text is shown: the characters that do something as their escapes, all others as they are."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def told(text: str, output: str) -> bool:
    """Whether the text can be read in the output, as it is or as a quoted string."""
    return escaped(text) in output or json.dumps(text, ensure_ascii=False)[1:-1] in output or json.dumps(text) in output


def flexit(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
    return subprocess.run(
        [*FLEXIT, *arguments], capture_output=True, encoding="utf-8", check=False, cwd=cwd, env=environment, timeout=60
    )


def shown(text: str, *arguments: str, code: int, cwd: Path | None = None) -> str:
    """The output of a command, which shows a text and lets none of it act."""
    done = flexit(*arguments, cwd=cwd)
    output = done.stdout + done.stderr
    assert done.returncode == code, output
    assert "Traceback" not in output
    assert not UNSAFE.search(output), ascii(output)
    assert told(text, output), ascii(output)
    return output


@pytest.fixture(params=["[/x]", " ".join(HOSTILE.values())], ids=["a closing tag", "all together"])
def text(request: pytest.FixtureRequest) -> str:
    return request.param


LAYER = (
    "{kind: transformer_layer, norm: rms_norm, norm_placement: pre, attention: {kind: multi_head, n_heads: 2, "
    "rotary: {}, mask: causal}, feed_forward: {kind: mlp, d_ff: 16}}"
)


def spec(name: str, description: str) -> str:
    """A valid spec; JSON strings are YAML too, control characters as escapes."""
    return (
        f"flexit: 1\nname: {json.dumps(name)}\ndescription: {json.dumps(description)}\nblocks:\n"
        f"  embed: {{kind: embedding, vocab_size: 32, d_model: 8}}\n"
        f"  decoder: {{kind: stack, n_layers: 1, layer: {LAYER}, final_norm: true}}\n  head: {{kind: lm_head}}\n"
    )


@pytest.mark.parametrize("command", ["check", "show", "cost"])
def test_in_a_valid_spec(text: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(spec("plain", text), encoding="utf-8")
    done = flexit(command, "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not UNSAFE.search(done.stdout + done.stderr)


def test_in_the_name_of_a_spec(text: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(spec(text, "plain"), encoding="utf-8")
    done = flexit("show", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "FX0209" in done.stderr
    assert not UNSAFE.search(done.stdout + done.stderr), ascii(done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["kind: {}", "kind: embedding\n    {}: 1", "kind: embedding\n    vocab_size: {}"])
def test_in_the_faults_of_a_spec(text: str, place: str, tmp_path: Path) -> None:
    document = f"flexit: 1\nname: x\nblocks:\n  embed:\n    {place.format(json.dumps(text))}\n"
    (tmp_path / "spec.yaml").write_text(document, encoding="utf-8")
    shown(text[:4], "check", "spec.yaml", code=2, cwd=tmp_path)


def test_in_the_name_of_a_file(text: str, tmp_path: Path) -> None:
    name = f"{text.replace('/', '|')[:100]}.yaml"
    (tmp_path / name).write_text(spec("plain", "plain"), encoding="utf-8")
    shown(name, "check", f"./{name}", code=0, cwd=tmp_path)
    shown(name, "new", "tiny-llama", f"./{name}", code=2, cwd=tmp_path)
    shown(name, "new", "tiny-llama", f"./new-{name}", code=0, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "{}"], ["show", "{}"], ["cost", "{}"], ["new", "{}"], ["kinds", "{}"], ["schema", "{}"],
        ["check", "tiny-llama", "--set", "{}"], ["check", "tiny-llama", "--set", "name.{}=1"],
        ["check", "tiny-llama", "--set", "blocks.embed.vocab_size={}"], ["cost", "tiny-llama", "--seq", "{}"],
        ["check", "tiny-llama", "--plugin", "{}"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_in_arguments(text: str, arguments: list[str], tmp_path: Path) -> None:
    done = flexit(*(argument.format(text) for argument in arguments), cwd=tmp_path)
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert "Traceback" not in output
    assert re.search(r"FX\d{4}", output)
    assert not UNSAFE.search(output), ascii(output)


SAID = " ".join(HOSTILE[name] for name in ("a closing tag", "a style", "a screen wiped", "right to left", "a title"))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["verify"], ["generate"], ["export", "--seed", "1", "out"], ["train"]])
def test_in_places_of_models(arguments: list[str], tmp_path: Path) -> None:
    shown(SAID, arguments[0], SAID, *arguments[1:], code=2, cwd=tmp_path)


@pytest.mark.ort
def test_in_prompts_and_generated_text(bundle: Path, tmp_path: Path) -> None:
    prompt = "[/prompt] \x1b]0;prompt\x07 \u202e"
    every_token = tokenizers.Tokenizer(WordLevel({f"{SAID}{row}": row for row in range(260)}, unk_token=f"{SAID}0"))
    talking = spoilt(bundle, tmp_path / "talking", tokenizer__json=every_token.to_str().encode())
    for prompts in (["--prompt", prompt], ["--prompt", prompt, "--prompt", "another"]):
        output = shown(SAID, "generate", str(talking), *prompts, "--max-new-tokens", "3", code=0)
        assert told(prompt, output)


@pytest.mark.ort
def test_in_manifests(text: str, bundle: Path, tmp_path: Path) -> None:
    bad = spoilt(bundle, tmp_path / "bad", manifest={"files": {text: "0" * 64}})
    shown(text[:4], "verify", str(bad), code=2)


def on_a_terminal(arguments: list[str], cwd: Path) -> str:
    """What a command writes where it believes that somebody looks."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    mine, its = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen([*FLEXIT, *arguments], stdin=its, stdout=its, stderr=its, cwd=cwd, env=environment)
    os.close(its)
    data, patience = b"", time.monotonic() + 60
    while time.monotonic() < patience:
        ready, _, _ = select.select([mine], [], [], 1.0)
        try:
            piece = os.read(mine, 65536) if ready else b"" if process.poll() is None else None
        except OSError:  # the other end is closed
            break
        if piece is None:
            break
        data += piece
    os.close(mine)
    process.wait(timeout=10)
    return data.decode()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check", "verify"])
@pytest.mark.parametrize("name", ["a closing tag", "a style", "a title", "a hyperlink", "right to left"])
def test_on_a_terminal(command: str, name: str, tmp_path: Path) -> None:
    text = HOSTILE[name].replace("/", "|")
    output = on_a_terminal([command, text], tmp_path)
    assert "Traceback" not in output
    assert escaped(text) in output
    assert text in output or UNSAFE.search(text)
    assert not re.search("\x1b\\][08]|\x07|\u202e", output), ascii(output)
