"""Files and tokenizers: patterns, hashes, texts and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexit.errors import UserError
from flexit.runtime.tokenizer import SEPARATOR, Tokenizer
from flexit.runtime.train.data.files import find_documents, fingerprint, texts


@pytest.fixture
def tokenizer(corpus: Path) -> Tokenizer:
    return Tokenizer.train(texts(find_documents(["*.py"], corpus)), vocab_size=400)


# ---- text


def test_documents_do_not_depend_on_names(tmp_path: Path, corpus: Path):
    before = find_documents(["corpus/*.py"], tmp_path)
    for number, path in enumerate(sorted(corpus.iterdir(), reverse=True)):
        path.rename(corpus / f"{number}.py")
    after = find_documents(["corpus/**/*.py", "corpus/1.py"], tmp_path)
    assert [document.sha256 for document in before] == [document.sha256 for document in after]
    assert fingerprint(before) == fingerprint(after)


def test_a_pattern_without_a_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"no file matches \*\.txt") as caught:
        find_documents(["*.txt"], tmp_path)
    assert caught.value.code == "FX1601"


def test_a_file_that_is_no_text(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    with pytest.raises(UserError, match="byte 0xff at offset 3") as caught:
        list(texts(find_documents(["a.txt"], tmp_path)))
    assert caught.value.code == "FX1602"


# ---- tokenizer


def test_every_text_comes_back(tokenizer: Tokenizer):
    for text in ("def f(x):\n    return x", "größer 日本 \U0001f600", "\x00\x07", " ", "", SEPARATOR):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_separator_in_a_text_is_text(tokenizer: Tokenizer):
    assert tokenizer.separator_id == 0
    assert 0 not in tokenizer.encode(f"before {SEPARATOR} after")


def test_training_is_repeatable(corpus: Path, tokenizer: Tokenizer):
    again = Tokenizer.train(texts(find_documents(["*.py"], corpus)), vocab_size=400)
    assert again.dumps() == tokenizer.dumps()
    assert tokenizer.vocab_size == 400


def test_a_saved_tokenizer_is_the_same(tmp_path: Path, tokenizer: Tokenizer):
    (tmp_path / "tokenizer.json").write_text(tokenizer.dumps())
    loaded = Tokenizer.load(tmp_path / "tokenizer.json", separator=SEPARATOR)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode("import os") == tokenizer.encode("import os")
    assert 0 not in loaded.encode(SEPARATOR)


def test_a_file_that_is_no_tokenizer(tmp_path: Path, tokenizer: Tokenizer):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UserError, match="is no tokenizer") as caught:
        Tokenizer.load(tmp_path / "a.json")
    assert caught.value.code == "FX1604"
    with pytest.raises(UserError, match=r"none.json cannot be read") as caught:
        Tokenizer.load(tmp_path / "none.json")
    assert (caught.value.code, caught.value.problems[0].found) == ("FX1604", "No such file or directory")
    (tmp_path / "c.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(UserError, match=r"c.json is not UTF-8 text") as caught:
        Tokenizer.load(tmp_path / "c.json")
    assert (caught.value.code, caught.value.problems[0].found) == ("FX1604", "byte 0xff at offset 7")
    (tmp_path / "b.json").write_text(tokenizer.dumps())
    with pytest.raises(UserError, match="has no token <end>"):
        Tokenizer.load(tmp_path / "b.json", separator="<end>")


def test_patterns_that_match_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "text.txt").write_text("a text")
    (tmp_path / "a" / "round").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "about").symlink_to(tmp_path / "a")
    monkeypatch.setattr("flexit.runtime.train.data.files.MOST_NAMES", 1000)
    with pytest.raises(UserError, match=r"too much matches a/\*\*") as caught:
        find_documents(["a/**"], tmp_path)
    assert caught.value.code == "FX1601"
    with pytest.raises(UserError, match='no file matches ""'):
        find_documents([""], tmp_path)
