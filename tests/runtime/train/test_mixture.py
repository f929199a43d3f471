"""Mixtures: exact shares in each pass, every row of a source before any again, the same batches on any way there."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flexit.errors import RunConfigError, UserError
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.examples import Examples, Indices
from flexit.runtime.train.data.loader import Loader
from flexit.runtime.train.data.mixed import Mixed, held_out_alike, shares
from flexit.runtime.train.data.source import Source
from flexit.runtime.train.data.sources.mixture import Mixture, Weighted
from flexit.runtime.train.data.sources.text import Text
from flexit.runtime.train.data.split import split_rows, split_tokens
from flexit.runtime.train.data.store import Store, make_store
from flexit.runtime.train.read import parse_config
from flexit.runtime.train.run import make_plan, prepare, train


class Numbered(Examples):
    """Examples that say which source they are of, and which of it."""

    def __init__(self, source: int, count: int) -> None:
        self.source, self.count = source, count

    def __len__(self) -> int:
        return self.count

    @property
    def lengths(self) -> Any:
        return np.arange(self.count) % 7 + self.source

    def rows(self, chosen: Indices) -> Sequence[tuple[int, int]]:
        return [(self.source, int(number)) for number in chosen]

    def collate(self, rows: Sequence[Any], key: tuple[int, ...]) -> dict[str, Tensor]:
        chance = np.random.default_rng(key).random(2)
        return {"rows": torch.tensor(rows), "chance": torch.from_numpy(chance)}


SIZES, WEIGHTS = (11, 40, 149), (0.5, 0.3, 0.2)


def mixture(sizes: Sequence[int] = SIZES, weights: Sequence[float] = WEIGHTS) -> Mixed:
    return Mixed([Numbered(source, size) for source, size in enumerate(sizes)], weights)


def passes(loader: Loader, count: int) -> list[list[Any]]:
    return [[batch["rows"].tolist() for batch in loader] for _ in range(count)]


def test_each_pass_has_the_exact_share_of_each_source():
    loader = Loader(mixture(), batch_size=8, seed=3)  # 200 rows: 25 whole batches
    for batches in passes(loader, 30):
        found = Counter(source for batch in batches for source, _ in batch)
        assert found == {0: 100, 1: 60, 2: 40}


def test_batches_have_the_shares_in_expectation():
    loader = Loader(mixture(), batch_size=8, seed=5)
    counts = np.asarray(
        [
            [sum(source == each for source, _ in batch) for each in range(3)]
            for some in passes(loader, 80)
            for batch in some
        ]
    )
    assert len(counts) == 2000
    spread = np.sqrt(np.asarray(WEIGHTS) * (1 - np.asarray(WEIGHTS)) / (8 * len(counts)))
    assert (np.abs(counts.mean(0) / 8 - WEIGHTS) < 4 * spread).all()
    assert counts.std(0).min() > 0.5  # drawn, not dealt


def test_no_row_of_a_source_comes_again_before_all_have_come():
    seen = [Counter(), Counter(), Counter()]
    for number, batches in enumerate(passes(Loader(mixture(), batch_size=8, seed=1), 12), 1):
        for source, row in (each for batch in batches for each in batch):
            seen[source][row] += 1
        for source, (size, count) in enumerate(zip(SIZES, (100, 60, 40), strict=True)):
            times = [seen[source][row] for row in range(size)]
            assert sum(times) == number * count
            assert max(times) - min(times) <= 1


@pytest.mark.parametrize("bucket", [0, 4])
def test_it_goes_on_at_a_saved_position(bucket: int):
    def loader() -> Loader:
        return Loader(mixture(), batch_size=7, seed=2, bucket=bucket)

    whole = loader()
    expected = [[(batch["rows"].tolist(), batch["chance"].tolist()) for batch in whole] for _ in range(4)]
    for number, batch in ((0, 0), (1, 13), (3, 27)):
        other = loader()
        other.load_state_dict({"pass": number, "batch": batch})
        assert [(each["rows"].tolist(), each["chance"].tolist()) for each in other] == expected[number][batch:]


@pytest.mark.slow
def test_workers_make_the_same_batches():
    here, there = (Loader(mixture(), batch_size=7, seed=2, workers=workers) for workers in (0, 2))
    assert passes(here, 2) == passes(there, 2)


def test_without_chance_each_row_comes_once_spread_evenly():
    loader = Loader(mixture((20, 100), (9, 1)), batch_size=12)
    ((*batches,),) = passes(loader, 1)
    assert sorted(each for batch in batches for each in batch) == sorted(
        [[0, row] for row in range(20)] + [[1, row] for row in range(100)]
    )
    assert {sum(source == 0 for source, _ in batch) for batch in batches} == {2}


@pytest.mark.parametrize("seed", range(10))
def test_shares_add_up_and_are_nearest(seed: int):
    draw = np.random.default_rng(seed)
    weights, total = draw.random(5) + 0.01, int(draw.integers(10, 1000))
    found = shares(weights.tolist(), total)
    assert found.sum() == total
    assert np.abs(found - weights / weights.sum() * total).max() < 1


def test_a_mixture_of_mixtures_is_one():
    def of(name: str) -> Source:
        return Text(files=[name])

    inner = Mixture(sources=[Weighted(source=of("b"), weight=1), Weighted(source=of("c"), weight=3)])
    outer = Mixture(sources=[Weighted(source=of("a"), weight=2), Weighted(source=inner, weight=2)])
    assert [(leaf.path, leaf.weight) for leaf in outer.leaves("data.train")] == [
        ("data.train.sources.0.source", 0.5),
        ("data.train.sources.1.source.sources.0.source", 0.125),
        ("data.train.sources.1.source.sources.1.source", 0.375),
    ]


# ---- runs


def sources(*parts: str, key: str = "train") -> str:
    return f"{key}: {{kind: mixture, sources: [{', '.join(parts)}]}}"


def part(name: str, weight: float | None = None, kind: str = "jsonl") -> str:
    said = "" if weight is None else f", weight: {weight}"
    return f"{{source: {{kind: {kind}, files: ['{name}']}}{said}}}"


def config(data: str, *, task: str, model: str, sets: str = "[]", out: str = "run", steps: int = 4) -> str:
    return f"""
flexit: 1
model: {model}
set: {sets}
task: {task}
data: {{{data}, validation: {{split: 0.2}}, seq_len: 16}}
batch: {{size: 4}}
steps: {steps}
threads: 1
device: cpu
evaluate: {{every: {steps}}}
checkpoint: {{every: 2}}
out: {out}
"""


def write(folder: Path, count: int = 60) -> None:
    draw = random.Random(0)
    for name, words in (("a", "good fine great"), ("b", "bad poor awful")):
        records: list[dict[str, Any]] = []
        for _ in range(count if name == "a" else count // 3):
            said = draw.choices(words.split(), k=draw.randrange(3, 9))
            text = " ".join(said)
            records.append(
                {"text": text, "label": name, "stars": len(said), "source": text, "target": said[0], "anchor": text,
                 "positive": text[::-1], "tokens": said, "labels": [name] * len(said)}
            )  # fmt: skip
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))


BOTH = sources(part("a.jsonl", 0.25), part("b.jsonl", 0.75))
TASKS = [
    ("causal_lm", "tiny-llama", "characters", "[]"),
    ("span_corruption", "tiny-t5", "characters", "[]"),
    ("seq2seq", "tiny-t5", "characters", "[]"),
    ("sequence_classification", "tiny-bert-classifier", "wordpiece", '["blocks.head.n_labels=2"]'),
    ("masked_lm", "bert.yaml", "wordpiece", "[]"),
    ("regression", "number.yaml", "wordpiece", "[]"),
    ("token_classification", "words.yaml", "wordpiece", "[]"),
    ("contrastive", "mpnet.yaml", "wordpiece", "[]"),
]


def specs(folder: Path) -> None:
    from flexit.ir.io.load import load_spec
    from flexit.ir.shrink import shrink

    for name, preset in (("bert", "bert-base"), ("mpnet", "mpnet-base")):
        (folder / f"{name}.yaml").write_text(shrink(load_spec(preset)).to_yaml())
    said = load_spec("tiny-bert-classifier").to_yaml()
    head = next(line for line in said.splitlines() if line.strip().startswith("head:"))
    (folder / "number.yaml").write_text(said.replace(head, "  head: {kind: regression, n_labels: 1, pool: first}"))
    (folder / "words.yaml").write_text(said.replace(head, "  head: {kind: token_classifier, n_labels: 2}"))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "model", "tokenizer", "sets"), TASKS)
def test_every_task_learns_from_a_mixture(tmp_path: Path, task: str, model: str, tokenizer: str, sets: str):
    write(tmp_path)
    specs(tmp_path)
    column = ", columns: {label: stars}" if task == "regression" else ""
    said = config(f"{BOTH}, tokenizer: {tokenizer}{column}", task=task, model=model, sets=sets, steps=2)
    (tmp_path / "run.yaml").write_text(said)
    plan = make_plan(tmp_path / "run.yaml")
    training, held_out = prepare(plan).examples(plan.out)
    assert isinstance(training, Mixed)
    assert training.counts[1] == round(0.75 * len(training))
    assert held_out is not None
    assert len(held_out) > 0
    result = train(tmp_path / "run.yaml", progress=False)
    assert result.step == 2
    assert result.validation_loss is not None
    assert {path.name for path in (tmp_path / "run").glob("data*")} == {"data", "data-2"}


def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path: Path):
    write(tmp_path)
    data = f"{BOTH}, tokenizer: characters"
    stops: list[str] = []
    for out, limits in (("whole", [None]), ("part", [1e-9, 1e-9, None])):
        path = tmp_path / f"{out}.yaml"
        path.write_text(config(data, task="causal_lm", model="tiny-llama", out=out, steps=12))
        for limit in limits:
            result = train(path, progress=False, sets=[] if limit is None else [f"limit={{minutes: {limit}}}"])
            stops.append(f"{out} {result.step}")
    assert stops == ["whole 12", "part 1", "part 2", "part 12"]
    ends = [(tmp_path / out / "checkpoints" / "step-000012" / "model.safetensors") for out in ("whole", "part")]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    assert (tmp_path / "whole/metrics.jsonl").read_bytes() == (tmp_path / "part/metrics.jsonl").read_bytes()


def stored(folder: Path, lengths: dict[int, int], order: np.ndarray) -> Store:
    """Documents by number, each with numbers of its own."""
    rows = (({"ids": np.full(lengths[int(each)], each, np.uint16)}, 0) for each in order)
    tokenizers = {"tokenizer.json": Tokenizer.train(["a"], vocab_size=257)}
    return make_store(folder, rows, size=1, tokenizers=tokenizers, source="s", way="w", by=["ids"])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("joined", [True, False])
def test_what_several_sources_have_is_on_one_side(tmp_path: Path, seed: int, joined: bool):
    draw = np.random.default_rng(seed)
    lengths = {number: int(draw.integers(1, 30)) for number in range(400)}
    wholes = [np.arange(300), draw.permutation(np.arange(250, 400)), draw.permutation(np.arange(40))]
    stores = [stored(tmp_path / str(number), lengths, order) for number, order in enumerate(wholes)]
    counts: dict[int, set[int]] = {}
    for store, order in zip(held_out_alike(stores, 0.2, joined=joined), wholes, strict=True):
        if joined:
            sides = split_tokens(store.columns["ids"], store.hashes, 0.2, settled=store.settled)
            places = [np.concatenate([np.arange(a, a + n) for a, n in zip(*each, strict=True)]) for each in sides]
            both = [store.columns["ids"].take(each) for each in places]
            share = len(both[1]) / (len(both[0]) + len(both[1]))
            for number in order:
                counts.setdefault(int(number), set()).add(int((both[1] == number).sum()))
        else:
            both = split_rows(store.hashes, 0.2, settled=store.settled)
            share = len(both[1]) / len(order)
            for number in order:
                counts.setdefault(int(number), set()).add(int(number in order[both[1]]))
        assert sum(map(len, both)) == (sum(lengths[int(each)] for each in order) if joined else len(order))
        assert share == pytest.approx(0.2, abs=0.01)
    assert all(len(found) == 1 for found in counts.values())


def test_a_run_holds_equal_texts_of_two_sources_out_together(tmp_path: Path):
    write(tmp_path)
    lines = (tmp_path / "a.jsonl").read_text().splitlines() + (tmp_path / "b.jsonl").read_text().splitlines()
    (tmp_path / "b.jsonl").write_text("\n".join(lines[40:]))
    said = config(f"{BOTH}, tokenizer: characters", task="seq2seq", model="tiny-t5")
    (tmp_path / "run.yaml").write_text(said)
    plan = make_plan(tmp_path / "run.yaml")
    training, held_out = prepare(plan).examples(plan.out)
    assert held_out is not None
    one, other = (
        {row["source"].tobytes() for row in each.rows(np.arange(len(each)))} for each in (training, held_out)
    )  # fmt: skip
    assert one and other and not one & other


def test_other_weights_encode_nothing_anew(tmp_path: Path):
    write(tmp_path)
    made: list[int] = []
    for weight in (0.25, 0.5):
        data = f"{sources(part('a.jsonl', weight), part('b.jsonl', 0.75))}, tokenizer: bytes"
        (tmp_path / "run.yaml").write_text(
            config(data, task="causal_lm", model="tiny-llama", sets='["blocks.embed.vocab_size=300"]')
        )
        plan = make_plan(tmp_path / "run.yaml")
        prepare(plan)
        made.append((plan.out / "data-2" / "ids.bin").stat().st_mtime_ns)
    assert made[0] == made[1]


def test_messages_say_which_source(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "c.jsonl").write_text('{"text": ')
    for data, place in (
        (sources(part("a.jsonl"), part("none.jsonl")), "FX1601 data.train.sources.1.source.files"),
        (sources(part("a.jsonl"), part("c.jsonl")), "FX1607 data.train.sources.1.source: "),
    ):
        said = config(f"{data}, tokenizer: characters", task="causal_lm", model="tiny-llama")
        (tmp_path / "run.yaml").write_text(said)
        with pytest.raises(UserError, match=place.replace(".", r"\.")):
            train(tmp_path / "run.yaml", progress=False)
    said = config("train: {kind: jsonl, files: [a.jsonl]}, tokenizer: characters", task="causal_lm", model="tiny-llama")
    said = said.replace("{split: 0.2}", "{source: {kind: jsonl, files: [none.jsonl]}}")
    (tmp_path / "run.yaml").write_text(said)
    with pytest.raises(UserError, match=r"FX1601 data\.validation\.source\.files"):
        train(tmp_path / "run.yaml", progress=False)


def test_a_weight_that_gives_no_row(tmp_path: Path):
    write(tmp_path)
    data = f"{sources(part('a.jsonl', 1e-6), part('b.jsonl', 1))}, tokenizer: characters"
    (tmp_path / "run.yaml").write_text(config(data, task="causal_lm", model="tiny-llama"))
    with pytest.raises(UserError, match=r"FX1510 data.train.sources.0.source: the weight is so small"):
        train(tmp_path / "run.yaml", progress=False)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (sources(part("a", 1)), "FX1510 data.train.sources: a mixture of fewer than two"),
        (sources(part("a", 0), part("b")), "FX0206 data.train.sources[0].weight"),
        (
            f"train: {{kind: text, files: [a]}}, {sources(part('a', 2), part('b'), key='source')}",
            "FX1510 data.validation.source.sources[0].weight: has no effect",
        ),
        (
            sources(part("a"), "{source: {kind: text, files: []}}"),
            "FX1601 data.train.sources[1].source.files: no files",
        ),
        (
            sources(part("a"), "{source: {kind: arrays, files: [b], dtype: uint16}}"),
            "FX1510 data.tokenizer: arrays are token ids",
        ),
    ],
)
def test_what_is_wrong_with_a_mixture(data: str, said: str):
    text = config(f"{data}, tokenizer: bpe", task="causal_lm", model="tiny-llama")
    if "source: {kind: mixture" in data:
        head, own = data.split(", source: ", 1)
        text = config(f"{head}, tokenizer: bpe", task="causal_lm", model="tiny-llama").replace(
            "split: 0.2", f"source: {own}"
        )
    with pytest.raises(RunConfigError) as caught:
        parse_config(text)
    assert said in str(caught.value)
