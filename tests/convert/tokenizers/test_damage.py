"""Tokenizer files that are damaged, by hand and at random: a ``UserError`` with a code comes out, or a tokenizer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexit.convert.tokenizers.contents import MAX_BYTES
from flexit.convert.tokenizers.files import TokenizerFiles
from flexit.convert.tokenizers.folder import find_tokenizer
from flexit.convert.tokenizers.gguf_vocabulary import GGML, gguf_tokenizer
from flexit.errors import SourceError, UserError
from flexit.runtime.tokenizer import Tokenizer
from tests.convert.tokenizers.lines import written_lines
from tests.convert.tokenizers.sources import folder_of, trained
from tests.convert.tokenizers.test_word_piece import small_vocabulary
from tests.fuzz.day import drawn_day

BERT, GPT2, LLAMA = ({"model_type": name} for name in ("bert", "gpt2", "llama"))
MUTATIONS = 60
"""Of each kind of folder."""


def refused(folder: Path) -> str:
    with pytest.raises(SourceError) as caught:
        find_tokenizer(folder)
    problem = caught.value.problems[0]
    assert all((problem.message, problem.expected, problem.found, problem.cure))
    return caught.value.code


@pytest.fixture(scope="module")
def sources() -> dict[str, dict[str, bytes]]:
    """A small folder of each kind."""
    inner = json.loads(Tokenizer.train(written_lines(500), vocab_size=350).dumps())
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in inner["model"]["merges"]), ""])
    lines = [line for line in written_lines(2000) if line.isascii()]
    bpe = trained(iter(lines), model_type="bpe", vocab_size=600, byte_fallback=True, user_defined_symbols=["[X]"],
                  normalization_rule_name="identity", remove_extra_whitespaces=False)  # fmt: skip
    unigram = trained(iter(lines), model_type="unigram", vocab_size=300, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    said = {"chat_template": "{{ messages }}", "added_tokens_decoder": {"350": {"content": "<new>", "special": True}}}

    def files(**content: object) -> dict[str, bytes]:
        return {name: each if isinstance(each, bytes) else json.dumps(each).encode() for name, each in content.items()}

    return {
        "json": files(
            tokenizer__json=inner, tokenizer_config__json=said, special_tokens_map__json={"eos_token": "<new>"}
        ),
        "word": files(
            vocab__txt=small_vocabulary(), config__json=BERT, tokenizer_config__json={"do_lower_case": False}
        ),
        "byte": files(vocab__json=inner["model"]["vocab"], merges__txt=merges.encode(), config__json=GPT2),
        "bpe": files(tokenizer__model=bpe, config__json=LLAMA, generation_config__json={"eos_token_id": 2}),
        "unigram": files(spiece__model=unigram, config__json={"model_type": "t5"}),
    }  # fmt: skip


BROKEN: list[tuple[str, dict[str, bytes | object], str]] = [
    ("json", {"tokenizer__json": b"{"}, "FX1901"),
    ("json", {"tokenizer__json": b"[]"}, "FX1901"),
    ("json", {"tokenizer__json": b"{}"}, "FX1901"),
    ("json", {"tokenizer__json": b"[" * 100_000}, "FX1901"),
    ("json", {"tokenizer__json": b"\xff"}, "FX1901"),
    ("json", {"tokenizer_config__json": {"added_tokens_decoder": {"9999": {"content": "<far>"}}}}, "FX1902"),
    ("json", {"tokenizer_config__json": {"added_tokens_decoder": {"-1": {"content": "<far>"}}}}, "FX1902"),
    ("json", {"tokenizer_config__json": {"added_tokens_decoder": {"x": {"content": "<far>"}}}}, "FX1902"),
    ("json", {"tokenizer_config__json": {"added_tokens_decoder": []}, "special_tokens_map__json": {"eos_token": 3}},
     "FX1901"),
    ("json", {"tokenizer_config__json": {"eos_token": ""}}, "FX1901"),
    ("json", {"tokenizer_config__json": {"chat_template": 3}}, "FX1901"),
    ("json", {"tokenizer_config__json": {"chat_template": [{"name": "x"}]}}, "FX1901"),
    ("json", {"chat_template__jinja": b"\xff"}, "FX1901"),
    ("json", {"generation_config__json": b"3"}, "FX1803"),
    ("json", {"tokenizer_config__json": b"{"}, "FX1803"),
    ("json", {"special_tokens_map__json": b'{"eos_token": "\\ud800"}'}, "FX1803"),
    ("word", {"vocab__txt": b"[UNK]\na\na\n"}, "FX1902"),
    ("word", {"vocab__txt": b""}, "FX1902"),
    ("word", {"vocab__txt": b"a\nb\n"}, "FX1902"),
    ("word", {"vocab__txt": b"[UNK]\na\n"}, "FX1905"),
    ("word", {"tokenizer_config__json": {"do_lower_case": "no"}}, "FX1901"),
    ("word", {"tokenizer_config__json": {"tokenizer_class": "AcmeTokenizer"}}, "FX1903"),
    ("word", {"config__json": {}}, "FX1903"),
    ("word", {"config__json": {"model_type": 3}}, "FX1901"),
    ("byte", {"vocab__json": {"a": 0, "b": 0}}, "FX1902"),
    ("byte", {"vocab__json": {"a": -1}}, "FX1902"),
    ("byte", {"vocab__json": {"a": 2**40}}, "FX1902"),
    ("byte", {"vocab__json": {"a": True}}, "FX1902"),
    ("byte", {"vocab__json": {}}, "FX1902"),
    ("byte", {"merges__txt": b"a b c\n"}, "FX1902"),
    ("byte", {"merges__txt": b"a nothing\n"}, "FX1902"),
    ("byte", {"merges__txt": None}, "FX1902"),
    ("bpe", {"tokenizer__model": b""}, "FX1901"),
    ("bpe", {"tokenizer__model": b"no such model"}, "FX1901"),
    ("bpe", {"config__json": {"model_type": "acme"}}, "FX1903"),
    ("unigram", {"tokenizer_config__json": {"extra_ids": -1}}, "FX1901"),
    ("unigram", {"tokenizer_config__json": {"extra_ids": 10**9}}, "FX1901"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "code"), BROKEN, ids=[str(place) for place in range(len(BROKEN))])
def test_by_hand(kind: str, change: dict[str, Any], code: str, sources: dict[str, Any], tmp_path: Path) -> None:
    files = {name: content for name, content in {**sources[kind], **change}.items() if content is not None}
    assert refused(folder_of(tmp_path / "m", **files)) == code


def test_a_truncated_model(sources: dict[str, Any], tmp_path: Path) -> None:
    for kind, name in (("bpe", "tokenizer__model"), ("unigram", "spiece__model")):
        whole = sources[kind][name]
        for part in (1, 10, len(whole) // 2, len(whole) - 1):
            folder = folder_of(tmp_path / f"{kind}{part}", **{**sources[kind], name: whole[:part]})
            assert refused(folder) in ("FX1901", "FX1902", "FX1903")


def test_a_gigantic_file(sources: dict[str, Any], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", **sources["json"])
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    assert refused(folder) == "FX1804"


def test_a_link_out_of_the_folder(sources: dict[str, Any], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", **sources["json"])
    (folder / "chat_template.jinja").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("x")
    assert refused(folder) == "FX1805"


def test_more_ids_than_rows(sources: dict[str, Any], tmp_path: Path) -> None:
    files = find_tokenizer(folder_of(tmp_path / "m", **sources["json"]))
    assert files is not None and files.n_ids == 351
    files.require_rows(351)
    with pytest.raises(SourceError) as caught:
        files.require_rows(350)
    problem = caught.value.problems[0]
    assert (problem.code, problem.expected[:12], problem.found) == ("FX1904", "at most 350 ", "351 ids")


def test_no_tokenizer(tmp_path: Path) -> None:
    assert find_tokenizer(tmp_path) is None


def test_chat_templates(sources: dict[str, Any], tmp_path: Path) -> None:
    listed = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    folder = folder_of(tmp_path / "m", **{**sources["json"], "tokenizer_config__json": {"chat_template": listed}})
    files = find_tokenizer(folder)
    assert files is not None and (files.chat_template, files.chat_templates["tool_use"]) == ("a", "b")
    (folder / "chat_template.jinja").write_text("c")
    files = find_tokenizer(folder)
    assert files is not None and files.chat_template == "c"
    assert set(files.written()) == {"tokenizer.json", "chat_template.jinja", "special_tokens_map.json"}


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, dropped, repeated or cut off."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, size = chance.randrange(max(1, len(data))), chance.randrange(1, 40)
        way = chance.randrange(5)
        if way == 0 and data:
            data[min(at, len(data) - 1)] = chance.randrange(256)
        elif way == 1:
            del data[at : at + size]
        elif way == 2:
            data[at:at] = data[at : at + size]
        elif way == 3:
            data[at:at] = chance.choice((b"-1", b"1e9", b"null", b'"', b"{", b"]", b"\xff", b"99999999999", b"\n\n"))
        else:
            del data[at : None if chance.random() < 0.1 else at + 1]
    return bytes(data)


def survives(make: Callable[[], TokenizerFiles | None]) -> str:
    """What became of it: the code of the error, or nothing; whatever else is raised fails the test."""
    try:
        files = make()
        if files is not None:
            assert files.n_ids > 0
    except UserError as error:
        return error.code
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["json", "word", "byte", "bpe", "unigram"])
def test_mutations(kind: str, sources: dict[str, Any], tmp_path: Path) -> None:
    chance = random.Random(f"{drawn_day()}{kind}")
    outcomes = []
    for number in range(MUTATIONS):
        files = dict(sources[kind])
        name = chance.choice([each for each in files if not each.startswith("generation")])
        files[name] = mutated(files[name], chance)
        folder = folder_of(tmp_path / str(number), **files)
        outcomes.append(survives(lambda: find_tokenizer(folder)))  # noqa: B023
    assert any(outcomes) and all(code.startswith(("FX180", "FX19")) for code in outcomes if code)


@pytest.mark.slow
def test_mutated_metadata() -> None:
    chance = random.Random(f"{drawn_day()}gguf")
    letters = [chr(code) for code in range(33, 127)]
    whole = {
        "model": "gpt2", "pre": "gpt-2", "tokens": [*letters, "ab", "<e>"], "token_type": [1] * 95 + [3],
        "merges": ["a b"], "bos_token_id": 95, "eos_token_id": 95, "add_bos_token": True,
    }  # fmt: skip
    odd: list[Any] = [
        None, -1, 10**12, 1.5, float("nan"), True, "", "x", [], [1], ["a"], [None], {}, b"x", [[1]], "\ud800",
    ]  # fmt: skip
    outcomes = []
    for _ in range(MUTATIONS * 4):
        data: dict[str, Any] = dict(whole)
        name = chance.choice(list(data))
        value = data[name]
        if isinstance(value, list) and chance.random() < 0.7:
            value = list(value)
            value[chance.randrange(len(value))] = chance.choice(odd)
            if chance.random() < 0.2:
                value.pop()
        else:
            value = chance.choice(odd)
        data[name] = value
        outcomes.append(survives(lambda: gguf_tokenizer({f"{GGML}{key}": each for key, each in data.items()})))  # noqa: B023
    assert any(outcomes) and not all(outcomes)
    assert all(code.startswith(("FX180", "FX19")) for code in outcomes if code)
