"""What each task learns: its batches, its loss against PyTorch's, and a run of a run config to a better model."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as fn

from flexit.errors import UserError
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec
from flexit.ir.shrink import shrink
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.tasks.classify import classify
from flexit.runtime.tasks.text_model import TextModel
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.hidden import Hiding, word_starts
from flexit.runtime.train.data.pairs import Pairs
from flexit.runtime.train.data.spans import Cutting
from flexit.runtime.train.data.tokenizers.wordpiece import WordPiece
from flexit.runtime.train.run import make_plan, prepare, train
from flexit.runtime.train.task import Setting
from flexit.runtime.train.tasks.masked_lm import MaskedLm
from flexit.runtime.train.tasks.span_corruption import SpanCorruption
from flexit.runtime.train.tasks.token_classification import TokenClassification
from flexit.runtime.train.update.loss import IGNORED, CrossEntropy, InBatch, SquaredError

WORDS = ("good", "fine", "great", "bad", "poor", "awful", "film", "plot", "cast", "and", "the", "was")


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    return WordPiece(vocab_size=60).make(lambda: [" ".join(WORDS) + " goodness filmic"] * 3, base=Path(), rows=60)


# ---- masked tokens


def hidden(task: MaskedLm, tokenizer: Tokenizer, ids: np.ndarray, seed: int = 0):
    changed = ids.copy()
    chosen = Hiding.of(task, tokenizer)(changed, np.random.default_rng(seed))
    return changed, chosen


def many(tokenizer: Tokenizer, rows: int = 400, length: int = 100) -> np.ndarray:
    return np.random.default_rng(1).integers(5, tokenizer.vocab_size, (rows, length))


def test_shares_of_hidden_tokens(pieces: Tokenizer):
    ids = many(pieces)
    changed, chosen = hidden(MaskedLm(ratio=0.2, masked=0.7, random=0.2), pieces, ids)
    mask = pieces.id_of("[MASK]")
    assert abs(chosen.mean() - 0.2) < 0.01
    assert np.array_equal(changed[~chosen], ids[~chosen])
    assert abs((changed[chosen] == mask).mean() - 0.7) < 0.02
    other = (changed != ids) & (changed != mask)
    assert abs(other[chosen].mean() - 0.2) < 0.02
    assert set(changed[other]) <= set(range(5, pieces.vocab_size))


def test_special_tokens_are_never_hidden_and_each_row_has_a_label(pieces: Tokenizer):
    ids = many(pieces, rows=50, length=6)
    ids[:, ::2] = pieces.id_of("[SEP]")
    for seed in range(20):
        _, chosen = hidden(MaskedLm(ratio=0.01), pieces, ids, seed)
        assert not chosen[:, ::2].any()
        assert chosen.any(axis=1).all()


def test_whole_words_are_hidden_whole(pieces: Tokenizer):
    ids = many(pieces)
    starts = word_starts(pieces)
    names = [pieces.token_of(number) for number in range(pieces.vocab_size)]
    assert [name.startswith("##") for name in names] == [not start for start in starts]
    _, chosen = hidden(MaskedLm(ratio=0.3, whole_words=True), pieces, ids)
    inside = ~starts[ids[:, 1:]]
    assert inside.any()
    assert np.array_equal(chosen[:, 1:][inside], chosen[:, :-1][inside])
    _, alone = hidden(MaskedLm(ratio=0.3), pieces, ids)
    assert not np.array_equal(alone[:, 1:][inside], alone[:, :-1][inside])


def test_words_of_byte_level_vocabularies():
    tokenizer = Tokenizer.train(["hello world hello world"] * 4, vocab_size=280)
    starts = word_starts(tokenizer)
    assert all(
        start == tokenizer.token_of(number).startswith(("\u0120", "\u010a")) for number, start in enumerate(starts)
    )


def test_a_tokenizer_without_a_mask():
    with pytest.raises(UserError, match="no token that hides another") as caught:
        Hiding.of(MaskedLm(), Tokenizer.train(["a b"], vocab_size=257))
    assert caught.value.code == "FX1604"


# ---- pairs


def test_the_decoder_reads_the_target_one_token_late():
    rows = [
        {"source": np.asarray([5, 6, 1]), "target": np.asarray([7, 8, 9, 1])},
        {"source": np.asarray([4, 1]), "target": np.asarray([3, 1])},
    ]
    batch = {name: value.tolist() for name, value in Pairs(pad=0, start=2)(rows, np.random.default_rng(0)).items()}
    assert batch == {
        "input_ids": [[5, 6, 1], [4, 1, 0]], "attention_mask": [[1, 1, 1], [1, 1, 0]],
        "decoder_input_ids": [[2, 7, 8, 9], [2, 3, 2, 2]], "decoder_attention_mask": [[1, 1, 1, 1], [1, 1, 0, 0]],
        "labels": [[7, 8, 9, 1], [3, 1, IGNORED, IGNORED]],
    }  # fmt: skip


# ---- pieces that are cut out


def test_a_row_is_what_is_left_and_what_was_cut_out():
    lengths = Counter()
    for seed in range(200):
        cutting = Cutting(tokens=6, numbers=(100, 101, 102), end=1, start=0)
        row = np.arange(10, 50)
        source, target = (part.tolist() for part in cutting(row, np.random.default_rng(seed)))
        assert source[-1] == target[-1] == 1
        pieces: dict[int, list[int]] = {}
        for token in target[:-1]:
            if token >= 100:
                at = pieces.setdefault(token, [])
            else:
                at.append(token)
        assert [*pieces] == [100, 101, 102]
        filled = [each for token in source[:-1] for each in (pieces[token] if token >= 100 else [token])]
        assert filled == row.tolist()
        lengths.update(map(len, pieces.values()))
    assert set(lengths) == {1, 2, 3, 4}
    assert sum(length * count for length, count in lengths.items()) == 200 * 6


def test_how_many_pieces():
    assert len(SpanCorruption().special_tokens(512)) == 26  # as in T5, whose 512 tokens lose 77
    assert SpanCorruption().special_tokens(40) == ["<extra_id_0>", "<extra_id_1>"]
    assert len(SpanCorruption(mean_length=8.0, ratio=0.5).special_tokens(128)) == 8
    assert len(SpanCorruption(ratio=0.01).special_tokens(20)) == 1


# ---- losses


def test_label_smoothing_is_that_of_szegedy():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 7, dtype=torch.float64), torch.randint(0, 7, (3, 5))
    labels[1, 2:] = IGNORED
    found = CrossEntropy(label_smoothing=0.1)({"logits": logits}, {"labels": labels})["loss"]
    log = logits.log_softmax(-1)
    wanted = 0.9 * fn.one_hot(labels.clamp(min=0), 7) + 0.1 / 7
    by_hand = -(wanted * log).sum(-1)[labels != IGNORED].mean()
    assert torch.allclose(found, by_hand, atol=1e-12)


def test_squared_error():
    logits, labels = torch.tensor([[1.0], [4.0]]), torch.tensor([2.0, 1.0])
    assert SquaredError()({"logits": logits}, {"labels": labels})["loss"] == 5.0
    with pytest.raises(UserError, match="numbers of a floating type"):
        SquaredError()({"logits": logits}, {"labels": torch.tensor([2, 1])})


def test_which_text_belongs_to_which():
    torch.manual_seed(0)
    vectors, labels = torch.randn(8, 5, dtype=torch.float64), torch.arange(4)
    found = InBatch(0.1)({"vector": vectors, "states": torch.randn(8, 3, 5)}, {"labels": labels})["loss"]
    cosines = torch.tensor([[float(fn.cosine_similarity(a, b, dim=0)) for b in vectors[4:]] for a in vectors[:4]])
    by_hand = -(cosines / 0.1).log_softmax(-1).diagonal().mean()
    assert float(found) == pytest.approx(float(by_hand), rel=1e-5)
    with pytest.raises(UserError, match="one output of 8 vectors"):
        InBatch(0.1)({"vector": vectors[:7]}, {"labels": labels})


# ---- words


def test_a_word_is_labelled_by_its_first_token(pieces: Tokenizer):
    spec = load_spec("tiny-bert-classifier", sets=["blocks.embed.vocab_size=80"])
    setting = Setting(compile_spec(spec), {"tokenizer.json": pieces}, 9, {}, ["N", "O"])
    row = TokenClassification().encode({"tokens": ["goodness", "was", "bad"], "labels": ["N", "O", "O"]}, setting, "x")
    names = [pieces.token_of(int(each)) for each in row["ids"]]
    begins = [not name.startswith(("##", "[")) for name in names]
    assert (names[0], names[-1], sum(begins)) == ("[CLS]", "[SEP]", 3)
    assert sum(name.startswith("##") for name in names) > 0
    assert row["labels"][begins].tolist() == [0, 1, 1]
    assert set(row["labels"][~np.asarray(begins)].tolist()) == {IGNORED}
    with pytest.raises(UserError, match="3, one per word"):
        TokenClassification().encode({"tokens": ["a", "b", "c"], "labels": ["N"]}, setting, "x")


# ---- runs


def write(folder: Path, records: list[dict[str, object]]) -> None:
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, records)))


def run(
    folder: Path,
    task: str,
    model: str,
    *,
    steps: int,
    tokenizer: str = "wordpiece",
    more: str = "",
    sets: str = "[]",
    top: str = "",
):
    (folder / "run.yaml").write_text(f"""
flexit: 1
model: {model}
set: {sets}
task: {task}
data:
  train: {{kind: jsonl, files: [data.jsonl]}}
  validation: {{split: 0.2}}
  seq_len: 24
  tokenizer: {tokenizer}
  bucket: 4
  {more}
optimizer: {{kind: adamw, lr: 3e-3}}
{top}
steps: {steps}
threads: 1
device: cpu
evaluate: {{every: {steps}}}
checkpoint: {{every: {steps}}}
out: run
""")
    result = train(folder / "run.yaml", progress=False)
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert result.validation_loss is not None
    return result, [line["loss"] for line in lines if "loss" in line]


def rated(count: int = 400) -> list[dict[str, object]]:
    rng = random.Random(0)
    records: list[dict[str, object]] = []
    for _ in range(count):
        good = rng.random() < 0.5
        said = [rng.choice(WORDS[:3] if good else WORDS[3:6]), *rng.choices(WORDS[6:], k=rng.randrange(2, 8))]
        rng.shuffle(said)
        records.append({"body": " ".join(said), "class": "good" if good else "bad", "stars": 4.5 if good else 1})
    return records


CLASSIFIER = "tiny-bert-classifier"
TWO = '["blocks.embed.vocab_size=80", "blocks.head.n_labels=2"]'


@pytest.mark.slow
def test_texts_are_classified(tmp_path: Path):
    write(tmp_path, rated())
    result, _ = run(
        tmp_path, "sequence_classification", CLASSIFIER, steps=60, more="columns: {text: body, label: class}", sets=TWO
    )
    assert result.validation_loss < 0.1
    assert json.loads((result.checkpoint / "labels.json").read_text()) == ["bad", "good"]
    carried = [result.checkpoint / name for name in ("tokenizer.json", "labels.json")]
    export(result.checkpoint, tmp_path / "bundle", carry=carried)
    model = TextModel.of(open_bundle(tmp_path / "bundle"), tmp_path / "bundle")
    answers = [each.best[0] for each in classify(model, ["the film was great", "an awful plot"])]
    assert answers == ["good", "bad"]


@pytest.mark.slow
def test_numbers_are_learned(tmp_path: Path):
    write(tmp_path, rated())
    spec = load_spec(CLASSIFIER, sets=["blocks.embed.vocab_size=80"]).to_yaml()
    spec = spec.replace("kind: sequence_classifier", "kind: regression").replace("n_labels: 3", "n_labels: 1")
    (tmp_path / "spec.yaml").write_text(spec)
    result, losses = run(tmp_path, "regression", "spec.yaml", steps=80, more="columns: {text: body, label: stars}")
    assert losses[0] > 3 * result.validation_loss
    assert result.validation_loss < 0.5


@pytest.mark.slow
def test_hidden_tokens_are_found(tmp_path: Path):
    rng = random.Random(0)
    write(
        tmp_path,
        [{"text": " ".join(WORDS[(at + i) % 12] for i in range(40))} for at in rng.choices(range(12), k=60)],
    )
    (tmp_path / "spec.yaml").write_text(shrink(load_spec("bert-base")).to_yaml())
    result, losses = run(tmp_path, "{kind: masked_lm, whole_words: true}", "spec.yaml", steps=800)
    assert losses[0] > 4
    assert result.validation_loss < math.log(len(WORDS)) - 0.3  # what says nothing but how often each word is


@pytest.mark.slow
@pytest.mark.parametrize("own", [False, True])
def test_targets_are_learned(tmp_path: Path, own: bool):
    rng = random.Random(0)
    texts = ["".join(rng.choices("abcdef", k=rng.randrange(2, 8))) for _ in range(600)]
    write(tmp_path, [{"source": text, "target": text[::-1].upper()} for text in texts])
    task = "{kind: seq2seq, label_smoothing: 0.1" + (", target_tokenizer: characters}" if own else "}")
    result, losses = run(tmp_path, task, "tiny-t5", steps=250, tokenizer="characters")
    assert losses[0] > 1.5 * result.validation_loss
    names = {path.name for path in result.checkpoint.iterdir()}
    assert ("target_tokenizer.json" in names) == own
    assert json.loads((result.checkpoint / "generation_config.json").read_text()).keys() == {
        "decoder_start_token_id", "eos_token_id", "pad_token_id",
    }  # fmt: skip


@pytest.mark.slow
def test_words_are_classified(tmp_path: Path):
    records = rated()
    for each in records:
        each["tokens"] = str(each["body"]).split()
        each["labels"] = ["judged" if word in WORDS[:6] else "other" for word in each["tokens"]]
    write(tmp_path, records)
    spec = load_spec(CLASSIFIER, sets=["blocks.embed.vocab_size=80"]).to_yaml()
    (tmp_path / "spec.yaml").write_text(re.sub("head: .*", "head: {kind: token_classifier, n_labels: 2}", spec))
    result, _ = run(tmp_path, "token_classification", "spec.yaml", steps=60)
    assert result.validation_loss < 0.1
    assert json.loads((result.checkpoint / "labels.json").read_text()) == ["judged", "other"]


@pytest.mark.slow
def test_texts_that_belong_together_are_found(tmp_path: Path):
    rng = random.Random(0)
    pairs = [rng.sample(WORDS, 4) for _ in range(400)]
    write(tmp_path, [{"anchor": " ".join(words), "positive": " ".join(reversed(words))} for words in pairs])
    spec = shrink(load_spec("mpnet-base")).to_yaml()
    (tmp_path / "spec.yaml").write_text(spec)
    result, losses = run(tmp_path, "contrastive", "spec.yaml", steps=80)
    assert losses[0] > 2 * result.validation_loss
    assert result.tokens == 80 * 16  # pairs


@pytest.mark.slow
def test_pieces_are_found(tmp_path: Path):
    write(tmp_path, [{"text": "abcdefgh" * 30} for _ in range(30)])
    result, losses = run(tmp_path, "span_corruption", "tiny-t5", steps=200, tokenizer="characters")
    assert losses[0] > 2 * result.validation_loss


def test_what_does_not_fit_is_told(tmp_path: Path):
    write(tmp_path, rated(20))
    cases = [
        ("sequence_classification", CLASSIFIER, "", "FX1610", "has no column text"),
        ("sequence_classification", "tiny-llama", "", "FX0801", "does not classify texts"),
        ("causal_lm", CLASSIFIER, "columns: {text: body}", "FX0801", "cannot do causal_lm"),
        ("masked_lm", "tiny-llama", "columns: {text: body}", "FX0801", "cannot do masked_lm"),
        ("seq2seq", "tiny-llama", "", "FX0801", "cannot do seq2seq"),
        ("regression", CLASSIFIER, "", "FX0801", "gives no number"),
        ("sequence_classification", CLASSIFIER, "columns: {texts: body}", "FX1510", "reads no such column"),
        ("sequence_classification", CLASSIFIER, "columns: {text: body, label: class}", "FX1510", "not the classes"),
        ("sequence_classification", CLASSIFIER, "columns: {text: stars, label: class}", "FX1610", "cannot be used"),
        (
            "{kind: sequence_classification, labels: [a, b, c]}",
            CLASSIFIER,
            "columns: {text: body, label: class}",
            "FX1610",
            "cannot be used",
        ),
        ("regression", CLASSIFIER, "columns: {text: body, label: class}", "FX0801", "gives no number"),
    ]
    for task, model, more, code, message in cases:
        with pytest.raises(UserError) as caught:
            run(tmp_path, task, model, steps=2, more=more, sets="[]")
        assert (caught.value.code, message in str(caught.value)) == (code, True), str(caught.value)
        assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert Counter(code for _, _, _, code, _ in cases)["FX1610"] == 3


def test_odd_settings_are_told(tmp_path: Path):
    pairs = [{"text": "a b c " * 9, "anchor": "a", "positive": "b", "label": number % 12} for number in range(40)]
    mpnet = shrink(load_spec("mpnet-base")).to_yaml()
    bert = shrink(load_spec("bert-base")).to_yaml()
    (tmp_path / "mpnet.yaml").write_text(mpnet)
    (tmp_path / "bert.yaml").write_text(bert)
    cases = [
        ("contrastive", "mpnet.yaml", "wordpiece", "batch: {size: 1}", "FX1510", "no others to be told from"),
        ("{kind: masked_lm, whole_words: true}", "bert.yaml", "characters", "", "FX1510", "where words begin"),
        ("{kind: span_corruption, ratio: 0.9, mean_length: 1}", "tiny-t5", "characters", "", "FX1510", "too much is"),
        ("causal_lm", "tiny-llama", "characters", "", "FX1603", "no records"),
    ]
    for task, model, tokenizer, more, code, message in cases:
        write(tmp_path, [] if code == "FX1603" else pairs)
        with pytest.raises(UserError) as caught:
            run(tmp_path, task, model, steps=2, tokenizer=tokenizer, top=more)
        assert (caught.value.code, message in str(caught.value)) == (code, True), str(caught.value)


def test_whole_numbers_are_classes_in_their_order(tmp_path: Path):
    write(tmp_path, [{"text": "a " * (number % 17) + "b", "label": number % 12} for number in range(60)])
    sets = '["blocks.embed.vocab_size=80", "blocks.head.n_labels=12"]'
    result, _ = run(tmp_path, "sequence_classification", CLASSIFIER, steps=2, sets=sets)
    assert json.loads((result.checkpoint / "labels.json").read_text()) == [str(number) for number in range(12)]


def test_another_way_to_read_the_same_file_is_encoded_anew(tmp_path: Path):
    write(tmp_path, [{"text": "ab " * 40, "body": "xyz " * 40} for _ in range(20)])
    tokens = []
    for more in ("", "columns: {text: body}"):
        config = find_config(tmp_path, more)
        plan = make_plan(config)
        material = prepare(plan)
        tokens.append(material.setting.tokenizer.encode("xyz"))
        rows = material.examples(plan.out)[0].batch(np.asarray([0]), (0,))["input_ids"][0].tolist()
        assert ("x" in material.setting.tokenizer.decode(rows)) == bool(more)
    assert tokens[0] != tokens[1]


def find_config(folder: Path, more: str) -> Path:
    (folder / "run.yaml").write_text(f"""
flexit: 1
model: tiny-llama
task: causal_lm
data: {{train: {{kind: jsonl, files: [data.jsonl]}}, seq_len: 24, tokenizer: characters, {more}}}
steps: 2
device: cpu
out: kept
""")
    return folder / "run.yaml"
