"""What is held out: equal texts on one side, whatever their labels, and shares as near as that allows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.split import split_rows, split_tokens
from flexit.runtime.train.data.store import Column, make_store


def column(documents: list[list[int]]) -> Column:
    values = np.concatenate([np.asarray(each, np.uint16) for each in documents])
    return Column(Path("nowhere"), "uint16", values, np.cumsum([0, *map(len, documents)]))


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_equal_rows_are_never_cut(seed: int):
    draw = np.random.default_rng(seed)
    hashes = draw.integers(0, 1 + int(draw.integers(1, 30)), 60).astype(np.uint64)
    training, held_out = split_rows(hashes, 0.2)
    assert sorted([*training, *held_out]) == list(range(60))
    assert not set(hashes[training]) & set(hashes[held_out])
    counts = np.cumsum(np.unique(hashes, return_counts=True)[1])[:-1]  # every border between two groups
    if len(counts):
        assert abs(len(training) - 48) == np.abs(counts - 48).min()


def test_rows_that_are_all_equal_are_not_held_out():
    training, held_out = split_rows(np.zeros(9, np.uint64), 0.3)
    assert (len(training), len(held_out)) == (9, 0)


def test_documents_equal_to_the_one_that_is_cut_are_cut_alike():
    documents = [[1] * 3, [7, 8, 9, 10], [2] * 3, [7, 8, 9, 10], [7, 8, 9, 10]]
    tokens, hashes = column(documents), np.asarray([1, 5, 9, 5, 5], np.uint64)
    training, held_out = split_tokens(tokens, hashes, 0.5)
    sides = [
        [tokens.values[start : start + length].tolist() for start, length in zip(*pieces, strict=True)]
        for pieces in (training, held_out)
    ]
    assert sides == [[[1] * 3, [7, 8], [7, 8], [7, 8]], [[9, 10], [9, 10], [9, 10], [2] * 3]]


def test_equal_texts_with_other_labels_have_one_hash(tmp_path: Path):
    rows = [
        ({"ids": np.asarray(ids, np.uint16), "labels": np.asarray([label], np.int32)}, number)
        for number, (ids, label) in enumerate([([1, 2], 0), ([1, 2], 1), ([3], 0)])
    ]
    found = make_store(
        tmp_path / "data", rows, size=3, tokenizers={"tokenizer.json": Tokenizer.train(["a"], vocab_size=257)},
        source="s", way="w", by=["ids"],
    ).hashes  # fmt: skip
    assert found[0] == found[1] != found[2]


def test_a_record_that_is_encoded_takes_few_bytes_of_memory(tmp_path: Path):
    count, row = 20_000, {"ids": np.zeros(3000, np.uint16)[:1000], "labels": np.zeros(1, np.int32)}
    tokenizer = Tokenizer.train(["a"], vocab_size=257)
    tracemalloc.start()
    make_store(
        tmp_path / "data", ((row, number) for number in range(count)), size=count,
        tokenizers={"tokenizer.json": tokenizer}, source="s", way="w", by=["labels"],
    )  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * count, "8 bytes for a hash and for the length of each column, and copies of these"
