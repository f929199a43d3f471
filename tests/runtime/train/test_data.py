"""Text to rows: patterns, hashes, the tokenizer, the corpus folder, order and position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flexit.errors import CheckpointError, UserError
from flexit.runtime.tokenizer import SEPARATOR, Tokenizer
from flexit.runtime.train.data.corpus import make_corpus, open_corpus
from flexit.runtime.train.data.feed import Feed
from flexit.runtime.train.data.rows import Rows
from flexit.runtime.train.data.text import find_documents, fingerprint, texts
from flexit.runtime.train.random_state import capture, restore, seed_all


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


# ---- corpus


def test_the_corpus_holds_every_document_and_its_end(tmp_path: Path, corpus: Path, tokenizer: Tokenizer):
    documents = find_documents(["*.py"], corpus)
    made = make_corpus(tmp_path / "data", documents, tokenizer)
    expected = [id_ for document in documents for id_ in (*tokenizer.encode(document.text()), 0)]
    assert np.array_equal(made.tokens, expected)
    opened = open_corpus(tmp_path / "data")
    assert opened is not None
    assert np.array_equal(opened.tokens, expected)
    training, held_out = opened.split(0.1)
    assert len(held_out) == round(0.1 * len(expected))
    assert np.array_equal(np.concatenate([training, held_out]), expected)
    assert open_corpus(tmp_path / "nothing") is None


def test_a_damaged_corpus(tmp_path: Path, corpus: Path, tokenizer: Tokenizer):
    make_corpus(tmp_path / "data", find_documents(["*.py"], corpus), tokenizer)
    (tmp_path / "data" / "tokens.bin").write_bytes(b"short")
    with pytest.raises(CheckpointError, match="no tokenised corpus"):
        open_corpus(tmp_path / "data")


# ---- rows


def tokens(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint16)


def test_rows_cover_the_text_once_and_labels_are_one_further_on():
    rows = Rows(tokens(101), seq_len=10, batch_size=2, seed=0)
    batches = list(rows)
    assert len(batches) == len(rows) == 5
    ids = torch.cat([batch["input_ids"] for batch in batches])
    assert sorted(ids.flatten().tolist()) == list(range(100))
    assert all(torch.equal(batch["labels"], batch["input_ids"] + 1) for batch in batches)


def test_each_pass_has_its_own_order_and_a_seed_repeats_them():
    one, two = (Rows(tokens(500), seq_len=5, batch_size=4, seed=7) for _ in range(2))
    passes = [[batch["input_ids"].tolist() for batch in one] for _ in range(2)]
    assert passes[0] != passes[1]
    assert passes == [[batch["input_ids"].tolist() for batch in two] for _ in range(2)]


def test_rows_go_on_at_a_saved_position():
    rows = Rows(tokens(500), seq_len=5, batch_size=4, seed=7)
    list(rows)
    running = iter(rows)
    for _ in range(3):
        next(running)
    saved = rows.state_dict()
    other = Rows(tokens(500), seq_len=5, batch_size=4, seed=7)
    other.load_state_dict(saved)
    assert [b["input_ids"].tolist() for b in running] == [b["input_ids"].tolist() for b in other]


def test_rows_without_seed_keep_their_order_and_the_last_short_batch():
    rows = Rows(tokens(71), seq_len=10, batch_size=4)
    assert [len(batch["input_ids"]) for batch in rows] == [4, 3]
    next(iter(rows))
    assert [int(batch["input_ids"][0, 0]) for batch in rows] == [0, 40]


def test_too_little_text():
    with pytest.raises(UserError, match="too little text for training") as caught:
        Rows(tokens(20), seq_len=10, batch_size=4, seed=0)
    assert caught.value.code == "FX1603"
    with pytest.raises(UserError, match="too little text for validation"):
        Rows(tokens(3), seq_len=10, batch_size=4, what="validation")


# ---- feed


def dataset() -> torch.utils.data.DataLoader[dict[str, torch.Tensor]]:
    return torch.utils.data.DataLoader([{"x": torch.tensor(i)} for i in range(10)], batch_size=3, shuffle=True)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("taken", [0, 1, 4, 6, 11])
@pytest.mark.parametrize("make", [dataset, lambda: Rows(tokens(200), seq_len=10, batch_size=4, seed=1)])
def test_a_feed_goes_on_where_it_was(make, taken: int):
    seed_all(3)
    feed = Feed(make())
    for _ in range(taken):
        feed.next()
    (position, start), states = feed.state(), capture()
    expected = [{name: value.tolist() for name, value in feed.next().items()} for _ in range(9)]
    seed_all(99)
    other = Feed(make())
    other.load(position, start)
    restore(states)
    assert [{name: value.tolist() for name, value in other.next().items()} for _ in range(9)] == expected


def test_an_empty_loader():
    with pytest.raises(UserError, match="loader is empty") as caught:
        Feed([]).next()
    assert caught.value.code == "FX1704"


def test_patterns_that_match_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "text.txt").write_text("a text")
    (tmp_path / "a" / "round").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "about").symlink_to(tmp_path / "a")
    monkeypatch.setattr("flexit.runtime.train.data.text.MOST_NAMES", 1000)
    with pytest.raises(UserError, match=r"too much matches a/\*\*") as caught:
        find_documents(["a/**"], tmp_path)
    assert caught.value.code == "FX1601"
    with pytest.raises(UserError, match='no file matches ""'):
        find_documents([""], tmp_path)
