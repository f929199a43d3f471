"""Batches: each example once, the same from any number of processes, and a position that can be gone on from."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
from torchdata.stateful_dataloader import StatefulDataLoader

from flexit.errors import CheckpointError, UserError
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.feed import Feed
from flexit.runtime.train.data.loader import Loader
from flexit.runtime.train.data.ragged import Ragged, mask_of, padded
from flexit.runtime.train.data.split import Pieces, split_rows, split_tokens
from flexit.runtime.train.data.store import Column, make_store, open_store
from flexit.runtime.train.data.stream import NextTokens, Packing, Stream
from flexit.runtime.train.data.workers import packed, unpacked
from flexit.runtime.train.saving.random_state import capture, restore, seed_all
from flexit.runtime.train.update.loss import IGNORED
from tests.runtime.train.plain import joined as rows_of

LENGTHS = (3, 1, 7, 2, 9, 4, 30, 5, 6, 8, 2, 11)


def column(values: np.ndarray, starts: list[int] | None = None) -> Column:
    return Column(Path("nowhere"), "uint16", values, np.asarray([0, len(values)] if starts is None else starts))


def joined(count: int, **how: Any) -> Loader:
    """Rows of the tokens 0, 1, 2, ..."""
    return rows_of(np.arange(count, dtype=np.uint16), **how)


def collate(rows, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    ids = [row["ids"] for row in rows]
    return {"ids": padded(ids, 99), "mask": mask_of(ids), "chance": torch.from_numpy(rng.random(3))}


@pytest.fixture
def stored(tmp_path: Path):
    """Rows of different lengths on disk: row i is i, i, ..."""
    rows = (({"ids": np.full(length, number, np.uint16)}, number) for number, length in enumerate(LENGTHS))
    tokenizer = Tokenizer.train(["a b"], vocab_size=257)
    return make_store(
        tmp_path / "data", rows, size=len(LENGTHS), tokenizers={"tokenizer.json": tokenizer}, source="s", way="w",
        by=["ids"], labels=["x"],
    )  # fmt: skip


def ragged(stored) -> Ragged:
    return Ragged(stored.columns, np.arange(len(stored)), collate, longest=["ids"])


def plain(batch):
    return {name: value.tolist() for name, value in batch.items()}


# ---- store


def test_rows_come_back(stored, tmp_path: Path):
    again = open_store(tmp_path / "data")
    assert again is not None
    assert [again.row(number)["ids"].tolist() for number in range(len(again))] == [
        [number] * length for number, length in enumerate(LENGTHS)
    ]
    assert (again.source, again.way, again.labels) == ("s", "w", ["x"])
    assert open_store(tmp_path / "nothing") is None


@pytest.mark.parametrize("file", ["ids.bin", "ids.starts", "data.json", "hashes.bin"])
def test_a_damaged_store(stored, tmp_path: Path, file: str):
    (tmp_path / "data" / file).write_bytes(b"12345678")
    with pytest.raises(CheckpointError, match="holds no encoded data"):
        open_store(tmp_path / "data")


def test_equal_rows_are_held_out_together(stored):
    training, held_out = split_rows(np.asarray([5, 1, 5, 9, 1, 5, 2], np.uint64), 0.5)
    assert (training.tolist(), held_out.tolist()) == ([1, 4, 6], [0, 2, 3, 5])
    everything, nothing = split_rows(stored.hashes, None)
    assert (len(everything), len(nothing)) == (len(LENGTHS), 0)


def test_a_share_of_the_tokens_is_held_out(stored):
    ids = stored.columns["ids"]
    training, held_out = (Stream(ids, each) for each in split_tokens(ids, stored.hashes, 0.25))
    assert (training.n_tokens, held_out.n_tokens) == (66, 22)
    parts = [each.cut(np.asarray([0]), each.n_tokens)[0][0] for each in (training, held_out)]
    assert sorted(np.concatenate(parts)) == sorted(
        number for number, length in enumerate(LENGTHS) for _ in range(length)
    )
    assert len(set(parts[0]) & set(parts[1])) <= 1  # the document that is cut


# ---- rows of joined documents


def test_rows_cover_the_text_once_and_labels_are_one_further_on():
    rows = joined(101, batch_size=2, seed=0)
    batches = list(rows)
    assert len(batches) == len(rows) == 5
    ids = torch.cat([batch["input_ids"] for batch in batches])
    assert sorted(ids.flatten().tolist()) == list(range(100))
    assert all(torch.equal(batch["labels"], batch["input_ids"] + 1) for batch in batches)


def test_documents_of_a_row_are_told_apart():
    tokens = column(np.asarray([1, 2, 0, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0], np.uint16))
    pieces = Pieces(np.asarray([0, 3, 5, 9]), np.asarray([3, 2, 4, 4]))
    rows = NextTokens(Stream(tokens, pieces), seq_len=6, packing=Packing("document_ids", "position_ids"))
    batch = plain(rows.batch(np.asarray([0, 1]), (0,)))
    assert batch["input_ids"] == [[1, 2, 0, 3, 0, 4], [5, 6, 0, 7, 8, 9]]
    assert batch["labels"] == [[2, 0, IGNORED, 0, IGNORED, 5], [6, 0, IGNORED, 8, 9, 0]]
    assert batch["document_ids"] == [[0, 0, 0, 1, 1, 2], [0, 0, 0, 1, 1, 1]]
    assert batch["position_ids"] == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 0, 1, 2]]


# ---- loader


def test_each_pass_has_its_own_order_and_a_seed_repeats_them():
    one, two = (joined(500, seq_len=5, seed=7) for _ in range(2))
    passes = [[batch["input_ids"].tolist() for batch in one] for _ in range(2)]
    assert passes[0] != passes[1]
    assert passes == [[batch["input_ids"].tolist() for batch in two] for _ in range(2)]


def test_batches_go_on_at_a_saved_position():
    rows = joined(500, seq_len=5, seed=7)
    list(rows)
    running = iter(rows)
    for _ in range(3):
        next(running)
    saved = rows.state_dict()
    other = joined(500, seq_len=5, seed=7)
    other.load_state_dict(saved)
    assert [b["input_ids"].tolist() for b in running] == [b["input_ids"].tolist() for b in other]


def test_without_seed_the_order_is_kept_and_a_short_batch_ends_the_pass():
    rows = joined(71)
    assert [len(batch["input_ids"]) for batch in rows] == [4, 3]
    next(iter(rows))
    assert [int(batch["input_ids"][0, 0]) for batch in rows] == [0, 40]


class Chances(NextTokens):
    """Rows with a number that is drawn."""

    def collate(self, rows, key: tuple[int, ...]) -> dict[str, torch.Tensor]:
        return {**super().collate(rows, key), "chance": torch.from_numpy(np.random.default_rng(key).random(1))}


@pytest.mark.parametrize("seed", [None, 1])
def test_without_seed_all_chance_is_the_same_in_each_pass(seed: int | None):
    stream = Stream(column(np.arange(101, dtype=np.uint16)), Pieces(np.asarray([0]), np.asarray([101])))
    loader = Loader(Chances(stream, seq_len=10, packing=Packing()), batch_size=2, seed=seed)
    passes = [[float(batch["chance"]) for batch in loader] for _ in range(2)]
    assert len(set(passes[0])) == 5
    assert (passes[0] == passes[1]) == (seed is None)


def test_too_little_data():
    with pytest.raises(UserError, match="too little data for training") as caught:
        joined(20, seed=0)
    assert caught.value.code == "FX1603"
    with pytest.raises(UserError, match="too little data for validation"):
        joined(3, what="validation")


def test_texts_of_like_length_stand_together(stored):
    loose, bucketed = (Loader(ragged(stored), batch_size=3, seed=5, bucket=bucket) for bucket in (0, 4))
    for loader in (loose, bucketed):
        for _ in range(3):
            seen = [number for batch in loader for number in batch["ids"][:, 0].tolist()]
            assert sorted(seen) == list(range(len(LENGTHS)))
    padding = [sum(int((batch["mask"] == 0).sum()) for batch in loader) for loader in (loose, bucketed)]
    assert padding[1] < 0.7 * padding[0]


def test_no_example_is_always_left_out(stored):
    loader = Loader(ragged(stored), batch_size=5, seed=2, bucket=4)
    seen = [{number for batch in loader for number in batch["ids"][:, 0].tolist()} for _ in range(20)]
    assert {len(each) for each in seen} == {10}
    assert set().union(*seen) == set(range(len(LENGTHS)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4])
def test_workers_make_the_same_batches(stored, seed: int):
    here, there = (Loader(ragged(stored), batch_size=4, seed=seed, workers=workers) for workers in (0, 2))
    before = torch.get_rng_state()
    for _ in range(3):
        assert [plain(batch) for batch in here] == [plain(batch) for batch in there]
    assert torch.equal(before, torch.get_rng_state())
    running = iter(there)
    next(running)
    saved = there.state_dict()
    other = Loader(ragged(stored), batch_size=4, seed=seed, workers=1)
    other.load_state_dict(saved)
    assert [plain(batch) for batch in running] == [plain(batch) for batch in other]


class Dying(Ragged):
    """Ends the process that makes a batch, unless it is the one that made this."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.maker = os.getpid()

    def batch(self, chosen: Any, key: tuple[int, ...]):
        if os.getpid() != self.maker:
            os._exit(3)
        return super().batch(chosen, key)


@pytest.mark.slow
def test_workers_that_always_die_are_given_up_and_told_of(stored, monkeypatch):
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.5,))  # seconds until it looks
    examples = Dying(stored.columns, np.arange(len(stored)), collate, longest=["ids"])
    here, there = (Loader(examples, batch_size=2, seed=1, workers=workers) for workers in (0, 1))
    with pytest.warns(RuntimeWarning, match="died 4 times"):
        assert [plain(batch) for batch in here] == [plain(batch) for batch in there]
    assert there._workers == 0


def test_a_batch_travels_as_one_tensor():
    batch = {
        "ids": torch.arange(15).reshape(3, 5), "mask": torch.tensor([True, False, True]), "none": torch.zeros(0, 4),
        "value": torch.tensor(1.5), "narrow": torch.randn(7).half(), "rows": torch.arange(12).reshape(3, 4).T,
        "every_other": torch.arange(9)[::2], "complex": torch.randn(3, dtype=torch.complex128),
    }  # fmt: skip
    content, entries = packed(batch)
    assert content.dtype == torch.uint8 and content.dim() == 1
    again = unpacked(content, entries)
    assert list(again) == list(batch)
    assert all(torch.equal(again[name], value) and again[name].dtype == value.dtype for name, value in batch.items())


class Large(Ragged):
    """Batches of more than a pipe holds."""

    def batch(self, chosen: Any, key: tuple[int, ...]):
        return super().batch(chosen, key) | {"more": torch.arange(100_000) + int(chosen[0])}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds workers by /proc")
def test_workers_are_killed_while_large_batches_wait(stored):
    """No part of a message may be left, for whose rest the run would wait for ever."""
    examples = Large(stored.columns, np.arange(len(stored)), collate, longest=["ids"])
    here, there = (Loader(examples, batch_size=2, seed=1, workers=workers) for workers in (0, 2))
    expected, running = iter(here), iter(there)
    assert plain(next(expected)) == plain(next(running))
    time.sleep(2)  # the workers have sent what they may send ahead
    for worker in there._ahead.loader._workers:  # pyright: ignore
        os.kill(worker.pid, signal.SIGKILL)
    rest: list[Any] = []
    going_on = threading.Thread(target=lambda: rest.extend(plain(batch) for batch in running), daemon=True)
    going_on.start()
    going_on.join(120)
    assert not going_on.is_alive()
    assert rest == [plain(batch) for batch in expected]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds workers by /proc")
def test_batches_go_on_where_workers_are_killed(stored):
    here, there = (Loader(ragged(stored), batch_size=4, seed=1, workers=workers) for workers in (0, 2))
    expected, running = iter(here), iter(there)
    assert plain(next(expected)) == plain(next(running))
    workers = [worker.pid for worker in there._ahead.loader._workers]  # pyright: ignore
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert [plain(batch) for batch in expected] == [plain(batch) for batch in running]


# ---- feed


def dataset() -> DataLoader[dict[str, torch.Tensor]]:
    return DataLoader([{"x": torch.tensor(i)} for i in range(10)], batch_size=3, shuffle=True)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("taken", [0, 1, 4, 6, 11])
@pytest.mark.parametrize("make", [dataset, lambda: joined(200, seed=1)])
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


def test_a_loader_that_cannot_say_where_it_was_is_refused():
    feed = Feed(joined(200, seed=1))
    feed.next()
    with pytest.raises(UserError, match=r"FX1704 train_dataloader: .*not the one that the checkpoint goes on with"):
        Feed(list(joined(200, seed=1))).load(*feed.state())


def endless() -> StatefulDataLoader[dict[str, torch.Tensor]]:
    """A loader of torchdata, which says itself where it is, with a worker."""
    return StatefulDataLoader(
        [{"x": torch.tensor(i)} for i in range(10)], batch_size=3, shuffle=True, num_workers=1,
        multiprocessing_context="forkserver",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("taken", [1, 6])
def test_a_feed_of_torchdata_goes_on_where_it_was(taken: int):
    test_a_feed_goes_on_where_it_was(endless, taken)
