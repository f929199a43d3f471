"""Metrics of evaluations in training: against the model run by hand, for each task, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score
from sklearn.preprocessing import normalize
from torch import Tensor
from torch.nn.functional import cross_entropy

from flexit.cli.app import run
from flexit.errors import RunConfigError, UserError
from flexit.ir.io.load import load_spec
from flexit.ir.shrink import shrink
from flexit.lower.torch.module import to_torch
from flexit.runtime.metrics.entity_f1 import entities
from flexit.runtime.saved import read_spec, read_weights
from flexit.runtime.sessions.torch_session import TorchSession
from flexit.runtime.tasks.classify import classify
from flexit.runtime.tasks.embed import embed
from flexit.runtime.tasks.text_model import TextModel
from flexit.runtime.token_bytes import bytes_of_tokens
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.callbacks.metrics import read_lines
from flexit.runtime.train.config import Evaluate
from flexit.runtime.train.data.tokenizers.bytes import Bytes
from flexit.runtime.train.data.tokenizers.characters import Characters
from flexit.runtime.train.data.tokenizers.unigram import Unigram
from flexit.runtime.train.read import read_config
from flexit.runtime.train.run import train
from flexit.runtime.train.saving.checkpoint import score_of
from tests.runtime.train.plain import batches, trainer
from tests.texts import MOODS, write_model

WORDS = ("good", "fine", "bad", "poor", "film", "plot")
TEXT = "def naïve(a):\n    return 'café' + a  # 数字\n\n"


def lines(path: Path, name: str) -> list[Any]:
    return [line[name] for line in read_lines(path / "metrics.jsonl") if name in line]


@pytest.mark.parametrize(
    "tokenizer",
    [
        Tokenizer.train([TEXT] * 3, vocab_size=300),
        Bytes().make(lambda: [TEXT], Path(), rows=300),
        Characters().make(lambda: [TEXT], Path(), rows=300),
        Unigram(vocab_size=280).make(lambda: [TEXT] * 3, Path(), rows=300),
    ],
)
def test_tokens_have_the_bytes_of_their_text(tokenizer: Tokenizer):
    table = bytes_of_tokens(tokenizer)
    for text in (TEXT, TEXT * 2, "a a  a", "café"):
        assert table[tokenizer.encode(text)].sum() == len(text.encode())
    assert table[tokenizer.separator_id] == 0


def test_bytes_of_a_metaspace_vocabulary_with_byte_fallback():
    from tokenizers import Tokenizer as Inner
    from tokenizers import decoders, models

    inner = Inner(models.BPE({"▁": 0, "a": 1, "▁a": 2, "<0xE6>": 3, "<0x95>": 4, "<0xB0>": 5}, [("▁", "a")]))
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])  # pyright: ignore[reportAttributeAccessIssue]
    assert bytes_of_tokens(Tokenizer(inner)).tolist() == [1, 1, 2, 1, 1, 1]


@pytest.mark.slow
def test_a_language_model_by_hand(write_config: Callable[..., Path], tmp_path: Path):
    data = (
        "{train: {kind: text, files: ['corpus/*.py']}, validation: {source: {kind: text, files: ['held.txt']}}, "
        "seq_len: 16, tokenizer: bpe}"
    )
    (tmp_path / "held.txt").write_text(TEXT * 8, encoding="utf-8")
    path = write_config(
        data=data, batch="{size: 2}", evaluate="{every: 4, metrics: [perplexity, bits_per_byte, accuracy]}"
    )
    train(path, progress=False)
    folder = tmp_path / "run"
    newest = folder / "checkpoints" / "step-000012"
    model = to_torch(read_spec(newest), read_weights(newest)).double().eval()
    tokenizer = Tokenizer.load(newest / "tokenizer.json", separator="<|endoftext|>")
    ids = torch.tensor([*tokenizer.encode(TEXT * 8), tokenizer.separator_id])
    nats, right, count = 0.0, 0, 0
    with torch.no_grad():
        for row in range((len(ids) - 1) // 16):
            part = ids[16 * row : 16 * row + 17]
            logits = model(input_ids=part[None, :-1])["logits"][0]
            nats += float(cross_entropy(logits, part[1:], reduction="sum"))
            right += int((logits.argmax(-1) == part[1:]).sum())
            count += 16
    n_bytes = len(tokenizer.decode(ids[: count + 1].tolist()).encode()) - len(tokenizer.decode([int(ids[0])]).encode())
    assert lines(folder, "validation_perplexity")[-1] == pytest.approx(math.exp(nats / count), rel=1e-5)
    assert lines(folder, "validation_accuracy")[-1] == pytest.approx(right / count)
    assert lines(folder, "validation_bits_per_byte")[-1] == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-5)


def tiny(folder: Path, task: str, model: str, **lines_: str) -> Path:
    """A run config of records in ``data.jsonl``, judged by those of ``held.jsonl``."""
    entries = {
        "flexit": "1", "model": model, "task": task, "batch": "{size: 8}", "optimizer": "{kind: adamw, lr: 3e-3}",
        "data": "{train: {kind: jsonl, files: [data.jsonl]}, validation: {source: {kind: jsonl, files: [held.jsonl]}}, "
        f"seq_len: 16, tokenizer: {lines_.pop('tokenizer', 'wordpiece')}}}",
        "steps": "10", "threads": "1", "device": "cpu", "evaluate": "{every: 5}", "out": "run",
    }  # fmt: skip
    path = folder / "run.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in (entries | lines_).items() if value))
    return path


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def sentences(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(2, 6))) for _ in range(count)]


def opened(checkpoint: Path | None) -> TextModel:
    assert checkpoint is not None
    model = to_torch(read_spec(checkpoint), read_weights(checkpoint))
    return TextModel.of(TorchSession(model), checkpoint)


@pytest.mark.slow
def test_generated_texts_by_hand(tmp_path: Path):
    pairs = [
        ("".join(each), " ".join(each[-1:]).upper() * 2)
        for n in (1, 2, 3)
        for each in itertools.product("abc", repeat=n)
    ]
    write(tmp_path, "data.jsonl", [{"source": a, "target": b} for a, b in pairs * 4])
    write(tmp_path, "held.jsonl", [{"source": a, "target": b} for a, b in pairs[:21]])
    metrics = "[exact_match, word_error, error_rate, {kind: error_rate, unit: words}, bleu, chrf, perplexity]"
    path = tiny(
        tmp_path, "{kind: seq2seq, target_tokenizer: characters}", "tiny-t5", tokenizer="characters", steps="200",
        evaluate=f"{{every: 200, metrics: {metrics}, max_new_tokens: 7}}",
        precision="bf16", optimizer="{kind: adamw, lr: 3e-3}",
    )  # fmt: skip
    result = train(path, progress=False)
    assert result.checkpoint is not None
    model = to_torch(read_spec(result.checkpoint), read_weights(result.checkpoint)).eval()
    reads, writes = (Tokenizer.load(result.checkpoint / f"{name}tokenizer.json") for name in ("", "target_"))
    settings = json.loads((result.checkpoint / "generation_config.json").read_text())
    start, end = settings["decoder_start_token_id"], settings["eos_token_id"]
    ends = reads.id_of("<|endoftext|>")
    found: list[list[int]] = []
    for source, _ in pairs[:21]:
        row = [start]
        with torch.no_grad():
            while len(row) < 8 and (len(row) == 1 or row[-1] != end):
                scores = model(
                    input_ids=torch.tensor([[*reads.encode(source), ends]]), decoder_input_ids=torch.tensor([row])
                )["logits"]
                row.append(int(scores[0, -1].argmax()))
        found.append([each for each in row[1:] if each != end])
    texts, wanted = [writes.decode(row) for row in found], [target for _, target in pairs[:21]]
    folder = tmp_path / "run"
    match = np.mean([one == other for one, other in zip(texts, wanted, strict=True)])
    assert 0 < match < 1, texts
    assert lines(folder, "validation_exact_match") == [pytest.approx(match)]
    assert lines(folder, "validation_word_error") == [pytest.approx(1 - match)]
    assert lines(folder, "validation_bleu") == [pytest.approx(sacrebleu.corpus_bleu(texts, [wanted], force=True).score)]
    assert lines(folder, "validation_chrf") == [pytest.approx(sacrebleu.corpus_chrf(texts, [wanted]).score)]


def test_classes_by_hand(tmp_path: Path):
    for name, count in (("data.jsonl", 80), ("held.jsonl", 30)):
        write(
            tmp_path, name, [{"text": each, "label": ["no", "yes"]["good" in each]} for each in sentences(count, count)]
        )
    metrics = "[accuracy, {kind: f1, average: binary, positive: 'no'}, f1]"
    path = tiny(
        tmp_path, "sequence_classification", "tiny-bert-classifier", steps="20",
        set='["blocks.embed.vocab_size=80", "blocks.head.n_labels=2"]', evaluate=f"{{every: 10, metrics: {metrics}}}",
        checkpoint="{every: 10, keep_best: 1, best: binary_f1}",
    )  # fmt: skip
    result = train(path, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "held.jsonl").read_text().splitlines()]
    found = [each.best[0] for each in classify(opened(result.checkpoint), [row["text"] for row in rows])]
    wanted = [row["label"] for row in rows]
    folder = tmp_path / "run"
    assert lines(folder, "validation_accuracy")[-1] == pytest.approx(accuracy_score(wanted, found))
    assert lines(folder, "validation_binary_f1")[-1] == pytest.approx(f1_score(wanted, found, pos_label="no"))
    assert lines(folder, "validation_macro_f1")[-1] == pytest.approx(f1_score(wanted, found, average="macro"))
    assert score_of(result.checkpoint) == -lines(folder, "validation_binary_f1")[-1]


def test_tags_by_hand(tmp_path: Path):
    tags = {"good": "B-A", "fine": "I-A", "bad": "B-B", "poor": "I-B", "film": "O", "plot": "O"}
    for name, count in (("data.jsonl", 80), ("held.jsonl", 30)):
        rows = [each.split() for each in sentences(count, count)]
        write(tmp_path, name, [{"tokens": row, "labels": [tags[word] for word in row]} for row in rows])
    spec = load_spec("tiny-bert-classifier", sets=["blocks.embed.vocab_size=80"]).to_yaml()
    (tmp_path / "spec.yaml").write_text(re.sub("head: .*", "head: {kind: token_classifier, n_labels: 5}", spec))
    path = tiny(
        tmp_path, "token_classification", "spec.yaml", steps="5",
        evaluate="{every: 5, metrics: [entity_f1, accuracy]}",
    )  # fmt: skip
    model = opened(train(path, progress=False).checkpoint)
    assert model.labels is not None
    both = found = wanted = 0
    for line in (tmp_path / "held.jsonl").read_text().splitlines():
        row = json.loads(line)
        read = model.tokenizer.read_words(row["tokens"])
        scores = model.session.run({"input_ids": [read.ids], "token_type_ids": [read.type_ids]})["logits"][0]
        first = [read.word_ids.index(word) for word in range(len(row["tokens"]))]
        best = [model.labels[int(scores[at].argmax())] for at in first]
        mine, theirs = set(entities(best)), set(entities(row["labels"]))
        both, found, wanted = both + len(mine & theirs), found + len(mine), wanted + len(theirs)
    assert 0 < both < wanted
    assert lines(tmp_path / "run", "validation_entity_f1") == [pytest.approx(2 * both / (found + wanted))]


def test_numbers_by_hand(tmp_path: Path):
    for name, count in (("data.jsonl", 80), ("held.jsonl", 30)):
        write(tmp_path, name, [{"text": each, "label": each.count("good")} for each in sentences(count, count)])
    spec = load_spec("tiny-bert-classifier", sets=["blocks.embed.vocab_size=80"]).to_yaml()
    spec = spec.replace("kind: sequence_classifier", "kind: regression").replace("n_labels: 3", "n_labels: 1")
    (tmp_path / "spec.yaml").write_text(spec)
    path = tiny(tmp_path, "regression", "spec.yaml", evaluate="{every: 10, metrics: [spearman, pearson]}")
    model = opened(train(path, progress=False).checkpoint)
    rows = [json.loads(line) for line in (tmp_path / "held.jsonl").read_text().splitlines()]
    found = [float(each.scores[0]) for each in classify(model, [row["text"] for row in rows], scores="none")]
    wanted = [row["label"] for row in rows]
    folder = tmp_path / "run"
    assert lines(folder, "validation_spearman") == [pytest.approx(spearmanr(found, wanted).statistic, rel=1e-3)]
    assert lines(folder, "validation_pearson") == [pytest.approx(pearsonr(found, wanted).statistic, rel=1e-3)]


def test_neighbours_by_hand(tmp_path: Path):
    for name, count in (("data.jsonl", 80), ("held.jsonl", 30)):
        rows = [{"anchor": a, "positive": b} for a, b in zip(sentences(count, 1), sentences(count, 2), strict=True)]
        write(tmp_path, name, rows)
    (tmp_path / "spec.yaml").write_text(shrink(load_spec("mpnet-base")).to_yaml())
    path = tiny(tmp_path, "contrastive", "spec.yaml", evaluate="{every: 10, metrics: [recall, {kind: recall, k: 5}]}")
    model = opened(train(path, progress=False).checkpoint)
    rows = [json.loads(line) for line in (tmp_path / "held.jsonl").read_text().splitlines()]
    ones, others = (np.stack(embed(model, [row[name] for row in rows])) for name in ("anchor", "positive"))
    near = normalize(ones) @ normalize(others).T
    for k in (1, 5):
        hits = [at in np.argsort(-row, kind="stable")[:k] for at, row in enumerate(near)]
        assert lines(tmp_path / "run", f"validation_recall_at_{k}") == [pytest.approx(np.mean(hits))]


def evaluated(model: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, float]:
    assert run(["eval", str(model), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.ort
def test_an_exported_translator_has_the_same_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pairs = [("".join(each), each[-1].upper() * 2) for n in (1, 2, 3) for each in itertools.product("abc", repeat=n)]
    write(tmp_path, "data.jsonl", [{"source": a, "target": b} for a, b in pairs * 4])
    held = [*pairs[:18], ("a", "BB"), ("b", "CC"), ("c", "AA")]  # the last three are not as it was taught
    write(tmp_path, "held.jsonl", [{"source": a, "target": b} for a, b in held])
    path = tiny(
        tmp_path, "{kind: seq2seq, target_tokenizer: characters}", "tiny-t5", tokenizer="characters", steps="200",
        evaluate="{every: 200, metrics: [exact_match, error_rate, chrf]}", optimizer="{kind: adamw, lr: 4e-3}",
    )  # fmt: skip
    train(path, progress=False)
    told = {
        name: lines(tmp_path / "run", f"validation_{name}")[-1] for name in ("exact_match", "token_error_rate", "chrf")
    }
    assert 0 < told["exact_match"] < 1
    assert run(["export", str(tmp_path / "run"), str(tmp_path / "bundle")]) == 0
    capsys.readouterr()
    options = ["--data", str(tmp_path / "held.jsonl"), "--max-new-tokens", "16", "--batch-size", "8"]
    options += ["--metric", "exact_match", "--metric", "error_rate:unit=tokens", "--metric", "chrf"]
    for model in ("run", "bundle"):
        found = evaluated(tmp_path / model, capsys, *options)
        assert found == pytest.approx({**told, "records": 21})
    assert set(evaluated(tmp_path / "run", capsys, *options[:2])) == {"exact_match", "token_error_rate", "records"}


@pytest.mark.ort
def test_an_exported_tagger_has_the_same_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tags = {"good": "B-A", "fine": "I-A", "bad": "B-B", "poor": "I-B", "film": "O", "plot": "O"}
    rows = [each.split() for each in sentences(40, 3)]
    for name in ("data.jsonl", "held.jsonl"):
        write(tmp_path, name, [{"tokens": row, "labels": [tags[word] for word in row]} for row in rows])
    spec = load_spec("tiny-bert-classifier", sets=["blocks.embed.vocab_size=80"]).to_yaml()
    (tmp_path / "spec.yaml").write_text(re.sub("head: .*", "head: {kind: token_classifier, n_labels: 5}", spec))
    metrics = "[entity_f1, accuracy, {kind: f1, average: micro}]"
    path = tiny(tmp_path, "token_classification", "spec.yaml", steps="5", evaluate=f"{{every: 5, metrics: {metrics}}}")
    train(path, progress=False)
    told = {name: lines(tmp_path / "run", f"validation_{name}")[-1] for name in ("entity_f1", "accuracy", "micro_f1")}
    assert run(["export", str(tmp_path / "run"), str(tmp_path / "bundle")]) == 0
    capsys.readouterr()
    options = ["--metric", "entity_f1", "--metric", "accuracy", "--metric", "f1:average=micro"]
    for model in ("run", "bundle"):
        found = evaluated(tmp_path / model, capsys, "--data", str(tmp_path / "held.jsonl"), *options)
        assert found == pytest.approx({**told, "records": 40})


def test_numbers_and_neighbours_in_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path, "data.jsonl", [{"text": each, "label": each.count("good")} for each in sentences(40, 1)])
    write(tmp_path, "held.jsonl", [{"text": each, "label": each.count("good")} for each in sentences(20, 2)])
    spec = load_spec("tiny-bert-classifier", sets=["blocks.embed.vocab_size=80"]).to_yaml()
    spec = spec.replace("kind: sequence_classifier", "kind: regression").replace("n_labels: 3", "n_labels: 1")
    (tmp_path / "spec.yaml").write_text(spec)
    train(
        tiny(tmp_path, "regression", "spec.yaml", steps="4", evaluate="{every: 4, metrics: [pearson]}"), progress=False
    )
    found = evaluated(tmp_path / "run", capsys, "--data", str(tmp_path / "held.jsonl"))
    assert found["pearson"] == pytest.approx(lines(tmp_path / "run", "validation_pearson")[-1], rel=1e-3)
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for name, seed in (("data.jsonl", 1), ("held.jsonl", 5)):
        both = zip(sentences(30, seed), sentences(30, seed + 1), strict=True)
        write(pairs, name, [{"anchor": a, "positive": b} for a, b in both])
    (pairs / "spec.yaml").write_text(shrink(load_spec("mpnet-base")).to_yaml())
    metrics = "[recall, {kind: recall, k: 5}]"
    train(
        tiny(pairs, "contrastive", "spec.yaml", steps="4", evaluate=f"{{every: 4, metrics: {metrics}}}"), progress=False
    )
    options = ["--data", str(pairs / "held.jsonl"), "--metric", "recall", "--metric", "recall:k=5"]
    found = evaluated(pairs / "run", capsys, *options)
    for k in (1, 5):
        assert found[f"recall_at_{k}"] == lines(pairs / "run", f"validation_recall_at_{k}")[-1]


@pytest.mark.parametrize(
    ("metric", "code", "expected"),
    [
        ("acuracy", "FX1111", "accuracy"), ("recall:n=3", "FX1111", "recall, which has k"),
        ("bleu", "FX1530", "accuracy and f1"), ("f1:positive=a", "FX1530", "average: binary, or no positive"),
    ],
)  # fmt: skip
def test_metrics_on_the_command_line_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str, code: str, expected: str
):
    model = write_model(tmp_path / "moods", MOODS, labels=["bad", "so-so", "good"])
    (tmp_path / "data.csv").write_text("text,label\na good film,good\n")
    assert run(["eval", str(model), "--data", str(tmp_path / "data.csv"), "--metric", metric]) == 2
    told = capsys.readouterr().err
    assert code in told
    assert expected in told


def test_a_trainer_in_python_tells_what_it_can_see():
    held_out = batches(5)
    made = trainer(batches(3), held_out=held_out, evaluate=Evaluate(every=2, metrics=["accuracy", "f1", "perplexity"]))
    made.fit(steps=2)
    found = made.evaluate()
    scores = torch.cat([made.model.eval()(each["x"]).detach() for each in held_out])
    wanted = torch.cat([each["labels"] for each in held_out])
    best = scores.argmax(-1)
    assert found["validation_accuracy"] == pytest.approx(accuracy_score(wanted, best))
    assert found["validation_macro_f1"] == pytest.approx(f1_score(wanted, best, average="macro"))
    assert found["validation_perplexity"] == pytest.approx(float(cross_entropy(scores, wanted).exp()))
    assert made.validation_loss == found["validation_loss"]


def test_labels_may_be_narrow_integers():
    held_out = batches(2)
    narrow = [{**each, "labels": each["labels"].int()} for each in held_out]
    found = [
        trainer(batches(3), held_out=given, evaluate=Evaluate(every=2, metrics=["perplexity"]), loss_fn=wide).evaluate()
        for given in (held_out, narrow)
    ]
    assert found[0] == found[1]


def wide(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return cross_entropy(outputs, batch["labels"].long())


def test_the_best_of_what_is_not_told():
    made = trainer(batches(3), held_out=batches(2), evaluate={"every": 2}, checkpoint={"keep_best": 1, "best": "f1"})
    with pytest.raises(UserError, match=r"FX1531 checkpoint.best: .*\n.*expected loss; found f1"):
        made.evaluate()


def test_a_metric_that_needs_more_than_a_trainer_in_python_has():
    with pytest.raises(UserError, match="FX1530") as caught:
        trainer(batches(3), held_out=batches(2), evaluate=Evaluate(every=2, metrics=["bleu"]))
    assert "expected accuracy, f1, pearson, perplexity, recall and spearman" in str(caught.value)


@pytest.mark.parametrize(
    ("lines_", "code", "path", "expected"),
    [
        ({"evaluate": "{every: 4, metrics: [bleu]}"}, "FX1530", "evaluate.metrics[0]", "accuracy, bits_per_byte and p"),
        ({"evaluate": "{every: 4, metrics: [accuracy, accuracy]}"}, "FX1530", "evaluate.metrics[1]", "each metric"),
        ({"evaluate": "{every: 4, max_new_tokens: 3}"}, "FX1530", "evaluate.max_new_tokens", "one of exact_match"),
        ({"evaluate": "{every: 4, metrics: [acuracy]}"}, "FX0203", "evaluate.metrics[0]", ""),
        ({"checkpoint": "{every: 4, best: perplexity}"}, "FX1531", "checkpoint.best", "keep_best of 1 or more"),
        ({"checkpoint": "{every: 4, keep_best: 1, best: f1}"}, "FX1531", "checkpoint.best", "loss, perplexity and b"),
        ({"early_stopping": "{metric: accuracy}"}, "FX1531", "early_stopping.metric", "loss, perplexity and b"),
        ({"limit": "{minutes: 0}"}, "FX0206", "limit.minutes", ""),
    ],
)  # fmt: skip
def test_refused(write_config: Callable[..., Path], lines_: dict[str, str], code: str, path: str, expected: str):
    with pytest.raises(RunConfigError) as caught:
        read_config(write_config(**lines_))
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == (code, path)
    assert expected in problem.expected
    assert problem.line


def test_early_stopping_without_evaluation(write_config: Callable[..., Path]):
    data = "{train: {kind: text, files: ['corpus/*.py']}, seq_len: 16, tokenizer: bpe}"
    with pytest.raises(RunConfigError, match="FX1531 early_stopping: there is nothing to stop by"):
        read_config(write_config(data=data, evaluate="", checkpoint="", early_stopping="{}"))


def test_classes_that_only_the_data_knows(tmp_path: Path):
    for name in ("data.jsonl", "held.jsonl"):
        write(tmp_path, name, [{"text": each, "label": each.split()[0]} for each in sentences(40, 1)])
    path = tiny(
        tmp_path, "sequence_classification", "tiny-bert-classifier",
        set='["blocks.embed.vocab_size=80", "blocks.head.n_labels=6"]',
        evaluate="{every: 10, metrics: [{kind: f1, average: binary}]}",
    )  # fmt: skip
    with pytest.raises(RunConfigError, match=r"FX1530 evaluate\.metrics\[0\]\.average: which class is meant") as caught:
        train(path, progress=False)
    assert "found 6 classes" in str(caught.value)
