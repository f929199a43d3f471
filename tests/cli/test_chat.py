"""``flexit generate --chat``: one answer, several, a conversation; and what it refuses."""

from __future__ import annotations

import io
import itertools
import string
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer as Inner
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel

import flexit
from flexit.cli.app import run
from flexit.runtime.generation.chat_template import ChatTemplate
from tests.cli.test_nonsense import refused
from tests.runtime.chats import said
from tests.saved import spoilt

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' and not loop.first %}{{ raise_exception('too late') }}{% endif %}"
    "{{ '<|' ~ m.role ~ '|>' ~ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ["<s>", "<|system|>", "<|user|>", "<|assistant|>"]


@pytest.fixture(scope="module")
def chatty(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in which every token is two letters, but for those of its chat template."""
    letters = itertools.product(string.ascii_lowercase, repeat=2)
    inner = Inner(WordLevel({"".join(pair): row for row, pair in zip(range(250), letters, strict=False)}, "aa"))
    inner.decoder = Fuse()  # pyright: ignore[reportAttributeAccessIssue]
    inner.add_special_tokens(SPECIALS)
    files = {
        "tokenizer__json": inner.to_str().encode(), "generation_config__json": b"{}",
        "chat_template__jinja": TEMPLATE.encode(), "special_tokens_map__json": b'{"bos_token": "<s>"}',
    }  # fmt: skip
    return spoilt(bundle, tmp_path_factory.mktemp("chatty") / "bundle", **files)


def answer(folder: Path, messages: list[dict[str, str]], count: int = 6) -> str:
    """What the library says to a conversation."""
    tokenizer = flexit.Tokenizer.load(folder / "tokenizer.json")
    ids = tokenizer.encode(ChatTemplate.read(folder).render(messages), specials=True)
    assert ids[:2] == [250, 251 if messages[0]["role"] == "system" else 252] and ids[-1] == 253
    (new,) = flexit.generate(flexit.open_bundle(folder), [ids], max_new_tokens=count)
    return tokenizer.decode(new)


def told(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    assert run(["generate", str(folder), "--chat", "--max-new-tokens", "6", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.ort
def test_an_answer(chatty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = answer(chatty, said("ab")), answer(chatty, said("ac"))
    assert told(capsys, chatty, "-p", "ab") == f"{first}\n"
    assert told(capsys, chatty, "-p", "ab", "--prompt", "ac") == f"{first}\n\n{second}\n"
    brief = answer(chatty, [{"role": "system", "content": "zz"}, *said("ab")])
    assert told(capsys, chatty, "-p", "ab", "--system", "zz") == f"{brief}\n"
    assert told(capsys, chatty, "-p", "ab", "--beams", "2").strip()


@pytest.mark.ort
def test_a_conversation(chatty: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ab\n\n  ac \n"))
    first = answer(chatty, said("ab"))
    second = answer(chatty, said("ab", first, "ac"))
    assert told(capsys, chatty) == f"{first}\n{second}\n"
    assert second != answer(chatty, said("ac"))


@pytest.mark.ort
def test_what_is_refused(chatty: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "generate", bundle, "--chat", "-p", "x") == "FX1910"
    assert refused(capsys, "generate", chatty, "--system", "x", "-p", "x") == "FX1110"
    for template, code in ((b"{% if %}", "FX1911"), (b"{{ raise_exception('no') }}", "FX1912"),
                           (b"{{ 'a' * 10**10 }}", "FX1913")):  # fmt: skip
        spoilt(chatty, tmp_path / code, chat_template__jinja=template)
        assert refused(capsys, "generate", tmp_path / code, "--chat", "-p", "x") == code
