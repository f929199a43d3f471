"""Perplexity and accuracy against PyTorch's cross-entropy and counts by hand, the same in both sessions."""

import itertools
import json
from math import exp, log

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from flexit.cli.app import run
from flexit.errors import TaskError, UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.metrics.accuracy import Accuracy
from flexit.runtime.saved import read_spec, read_weights
from flexit.runtime.sessions.torch_session import TorchSession
from flexit.runtime.tasks.classify import classify
from flexit.runtime.tasks.perplexity import perplexity, windows
from flexit.runtime.tasks.records import Record, read_records
from flexit.runtime.tasks.scoring import scores
from flexit.runtime.tasks.text_model import TextModel
from tests.saved import write_bundle, write_checkpoint
from tests.texts import MOODS, TEXTS, write_model

WORDS = "def a function of some words that a tokenizer can learn, and others: naïve café 数字\n" * 3
NAMES = ["bad", "so-so", "good"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("decoder") / "checkpoint")


def in_torch(folder):
    return TextModel.of(TorchSession(to_torch(read_spec(folder), read_weights(folder))), folder)


@pytest.mark.parametrize(("length", "overlap"), [(1024, 1), (20, 1), (20, 7), (3, 2)])
def test_every_token_but_the_first_once(folder, length, overlap):
    model = in_torch(folder)
    found = perplexity(model, WORDS, length=length, overlap=overlap)
    ids = torch.tensor(model.tokenizer.encode(WORDS))
    module = to_torch(read_spec(folder), read_weights(folder)).double().eval()
    expected, scored = 0.0, 1
    while scored < len(ids):
        start = max(0, scored - overlap)
        end = min(start + length, len(ids))
        with torch.no_grad():
            logits = module(input_ids=ids[None, start:end])["logits"][0]
        each = cross_entropy(logits[:-1], ids[start + 1 : end], reduction="none")
        expected += float(each[scored - start - 1 :].sum())
        scored = end
    assert found.tokens == len(ids) - 1
    assert found.nats == pytest.approx(expected, rel=1e-6)
    assert found.perplexity == pytest.approx(exp(expected / (len(ids) - 1)), rel=1e-6)
    assert found.bits_per_byte == pytest.approx(expected / log(2) / len(WORDS.encode()), rel=1e-6)


def test_windows_cover_and_overlap():
    for count in range(2, 30):
        for length in range(2, 9):
            for overlap in range(1, length):
                found = list(windows(count, length, overlap))
                assert found[0][0] == 0
                assert found[-1][1] == count
                assert all(end - start <= length for start, end in found)
                assert all(end - start == overlap for (_, end), (start, _) in itertools.pairwise(found))


@pytest.mark.ort
def test_the_same_from_a_bundle(folder, tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle", folder)
    one = perplexity(in_torch(folder), WORDS, length=30)
    other = perplexity(TextModel.of(open_bundle(bundle), bundle), WORDS, length=30)
    assert other.nats == pytest.approx(one.nats, rel=1e-6)
    text = tmp_path / "text.txt"
    text.write_text(WORDS, encoding="utf-8")
    assert run(["eval", str(bundle), "--data", str(text), "--length", "30", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["loss"] == pytest.approx(one.loss, rel=1e-6)
    assert told["bytes"] == len(WORDS.encode())


def test_what_cannot_be_predicted(folder, tmp_path):
    with pytest.raises(TaskError) as told:
        perplexity(in_torch(folder), "")
    assert told.value.problems[0].code == "FX2101"
    with pytest.raises(UserError) as told:
        perplexity(in_torch(folder), WORDS, length=4, overlap=4)
    assert told.value.problems[0].code == "FX2007"
    moods = write_model(tmp_path / "moods", MOODS, labels=NAMES)
    with pytest.raises(TaskError) as told:
        perplexity(in_torch(moods), WORDS)
    assert told.value.problems[0].code == "FX0801"


def test_accuracy_and_f1_are_counted(tmp_path, capsys):
    model = in_torch(write_model(tmp_path / "moods", MOODS, labels=NAMES))
    best = [each.best[0] for each in classify(model, TEXTS)]
    wanted = [NAMES[index % 3] for index in range(len(TEXTS))]
    rows = [Record({"text": text, "label": label}, "here") for text, label in zip(TEXTS, wanted, strict=True)]
    found = scores(model, rows)
    assert found["accuracy"] == np.mean([one == other for one, other in zip(best, wanted, strict=True)])
    each = []
    for label in NAMES:
        right = sum(one == other == label for one, other in zip(best, wanted, strict=True))
        precision = right / best.count(label) if label in best else 0.0
        recall = right / wanted.count(label)
        each.append(2 * precision * recall / (precision + recall) if right else 0.0)
    assert found["macro_f1"] == pytest.approx(np.mean(each))
    assert scores(model, rows, [Accuracy()]) == {"accuracy": found["accuracy"]}
    file = tmp_path / "data.csv"
    file.write_text("text,label\n" + "".join(f'"{t}",{w}\n' for t, w in zip(TEXTS, best, strict=True)))
    assert run(["eval", str(tmp_path / "moods"), "--data", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"accuracy": 1.0, "macro_f1": 1.0, "records": len(TEXTS)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "words,label\nx,bad\n"), ("a.csv", ""), ("a.jsonl", '{"text": "x"}\n'), ("a.jsonl", "[1]\n"),
        ("a.jsonl", "{\n"), ("a.jsonl", '{"text": 3, "label": "bad"}\n'),
    ],
)  # fmt: skip
def test_rows_that_are_none(tmp_path, name, content):
    file = tmp_path / name
    file.write_text(content)
    model = in_torch(write_model(tmp_path / "moods", MOODS, labels=NAMES))
    with pytest.raises(UserError) as told:
        scores(model, read_records(file))
    assert told.value.problems[0].code == "FX2103"


def test_labels_that_the_model_does_not_have(tmp_path):
    model = in_torch(write_model(tmp_path / "moods", MOODS, labels=NAMES))
    with pytest.raises(UserError) as told:
        scores(model, [Record({"text": TEXTS[0], "label": "ugly"}, "here")])
    assert told.value.problems[0].code == "FX2102"


def test_a_field_that_is_too_long_and_lines_of_other_kinds(tmp_path):
    (tmp_path / "long.csv").write_text('text,label\n"' + "a" * 200_000 + '",good\n')
    with pytest.raises(UserError, match="field larger than field limit") as told:
        read_records(tmp_path / "long.csv")
    assert told.value.problems[0].code == "FX2103"
    (tmp_path / "lines.jsonl").write_text('{"text": "one\u2028line", "label": "good"}\n', encoding="utf-8")
    (row,) = read_records(tmp_path / "lines.jsonl")
    assert row.values == {"text": "one\u2028line", "label": "good"}


def test_a_model_that_reads_another_text_too_is_not_evaluated(folder):
    pair = TextModel(TorchSession(to_torch(load_spec("tiny-t5"), seed=0)), in_torch(folder).tokenizer)
    with pytest.raises(TaskError, match="reads more than the text") as told:
        perplexity(pair, WORDS)
    assert told.value.code == "FX0801"
