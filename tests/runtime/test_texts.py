"""Models of texts: vectors, classes and masked tokens, batched as one by one, in both sessions, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flexit.cli.app import run
from flexit.errors import UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.saved import read_spec, read_weights
from flexit.runtime.sessions.torch_session import TorchSession
from flexit.runtime.tasks.classify import classify
from flexit.runtime.tasks.embed import embed, hidden_states
from flexit.runtime.tasks.fill_mask import fill_mask
from flexit.runtime.tasks.text_model import Reading, TextModel, read_labels
from flexit.runtime.tokenizer import Tokenizer
from tests.saved import TEXT
from tests.texts import (
    LENGTH,
    MASKED,
    MOODS,
    PAIRS,
    RANKS,
    SENTENCES,
    SPECIALS,
    TAGS,
    TEXTS,
    WORDS,
    bert_tokenizer,
    write_model,
)

NAMES = ["bad", "so-so", "good"]
BOTH = TEXTS + PAIRS
ONE = Reading(batch_size=1)


def in_torch(folder: Path) -> TextModel:
    return TextModel.of(TorchSession(to_torch(read_spec(folder), read_weights(folder))), folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("texts")
    forms = {"sentences": SENTENCES, "moods": MOODS, "tags": TAGS, "ranks": RANKS, "masked": MASKED}
    named = {"moods", "tags"}
    return {
        name: write_model(base / name, form, labels=NAMES if name in named else None) for name, form in forms.items()
    }


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> SimpleNamespace:
    return SimpleNamespace(**{name: in_torch(folder) for name, folder in folders.items()})


@pytest.fixture(scope="module")
def bundles(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    base = tmp_path_factory.mktemp("bundles")
    found = {}
    for name in ("sentences", "tags"):
        export(folders[name], base / name)
        found[name] = TextModel.of(open_bundle(base / name, threads=1), base / name)
    return SimpleNamespace(**found)


def refused(call: Any, *arguments: Any, **options: Any) -> tuple[str, str, str, str]:
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    problem = caught.value.problems[0]
    return problem.code, problem.expected, problem.found, problem.cure


def ids_of(text: Any) -> tuple[list[int], list[int]]:
    """What the library makes of it: ids and token types."""
    found = bert_tokenizer().encode(*((text,) if isinstance(text, str) else text))
    return found.ids, found.type_ids


@pytest.mark.ort
def test_in_batches_as_one_by_one_in_both_sessions(models: Any, bundles: Any) -> None:
    alone = embed(models.sentences, BOTH, ONE)
    assert alone.shape == (len(BOTH), 16)
    assert relative_error(embed(models.sentences, BOTH, Reading(batch_size=3)), alone) < 1e-5
    assert relative_error(embed(bundles.sentences, BOTH), alone) < 1e-4
    for ours, theirs in zip(classify(bundles.tags, BOTH), classify(models.tags, BOTH, ONE), strict=True):
        assert ours.places == theirs.places
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-4)


def test_a_text_is_read_as_its_template_says(models: Any) -> None:
    """Against the session on the ids and token types of the library itself."""
    for text in (*TEXTS, *PAIRS):
        ids, types = ids_of(text)
        expected = models.sentences.session.run({"input_ids": [ids], "token_type_ids": [types]})
        assert embed(models.sentences, [text]) == pytest.approx(expected["pooled"], abs=1e-6)
        states = hidden_states(models.sentences, [text], output="last_hidden_state")[0]
        assert states == pytest.approx(expected["last_hidden_state"][0], abs=1e-6)
    assert ids_of(PAIRS[0])[1].count(1) > 2


def test_special_tokens_in_a_text_are_text(models: Any) -> None:
    ids = next(read.encoding.ids for read in models.sentences.read(["a [SEP] cat"]))
    assert ids.count(SPECIALS.index("[SEP]")) == 1


def test_a_file_that_asks_for_cuts_and_padding_is_not_obeyed(tmp_path: Path) -> None:
    inner = bert_tokenizer()
    inner.enable_truncation(3)
    inner.enable_padding(length=9)
    inner.save(str(tmp_path / "tokenizer.json"))
    assert len(Tokenizer.load(tmp_path / "tokenizer.json").read(["the cat sits on the mat"])[0].ids) == 8


def test_pooled_here(models: Any) -> None:
    states = [each.astype(np.float64) for each in hidden_states(models.sentences, TEXTS)]
    expected = {
        "first": [each[0] for each in states],
        "last": [each[-1] for each in states],
        "mean": [sum(each) / len(each) for each in states],
        "max": [each.max(axis=0) for each in states],
    }
    for pool, vectors in expected.items():
        assert embed(models.sentences, TEXTS, pool=pool) == pytest.approx(np.array(vectors), abs=1e-5)
    assert embed(models.sentences, TEXTS) == pytest.approx(np.array(expected["mean"]), abs=1e-5)


def test_the_first_numbers_normalised(models: Any) -> None:
    whole = embed(models.sentences, TEXTS).astype(np.float64)
    for dim in (1, 5, 16):
        cut = whole[:, :dim]
        expected = cut / np.sqrt((cut**2).sum(axis=1, keepdims=True))
        assert embed(models.sentences, TEXTS, dim=dim) == pytest.approx(expected, abs=1e-6)
    assert np.linalg.norm(embed(models.sentences, TEXTS, normalize=True), axis=1) == pytest.approx(1.0)
    for dim in (0, 17, True):
        assert refused(embed, models.sentences, TEXTS, dim=dim)[0] == "FX2003"
    assert refused(embed, models.sentences, TEXTS, pool="median")[0] == "FX2003"


def test_classes_have_names_and_scores(models: Any) -> None:
    raw = np.array([each.scores for each in classify(models.moods, BOTH, scores="none")])
    soft, single = classify(models.moods, BOTH), classify(models.moods, BOTH, scores="sigmoid")
    for row, probable, apart in zip(raw, soft, single, strict=True):
        assert probable.scores == pytest.approx(np.exp(row) / np.exp(row).sum())
        assert apart.scores == pytest.approx(1 / (1 + np.exp(-row)))
        assert probable.best == [NAMES[int(row.argmax())]]
    assert len({each.best[0] for each in soft}) > 1
    rank = classify(models.ranks, PAIRS)
    assert rank[0].labels == ("0",)
    assert [each.scores.tolist() for each in rank] == [
        each.scores.tolist() for each in classify(models.ranks, PAIRS, scores="none")
    ]
    assert refused(classify, models.moods, TEXTS, scores="hard")[0] == "FX2003"


def test_tokens_have_places_in_their_texts(models: Any) -> None:
    found = classify(models.tags, ["The dog, RUNNING.", PAIRS[0]])
    assert found[0].places is not None
    assert [place.text for place in found[0].places] == ["The", "dog", ",", "RUNNING", "."]
    assert [(place.start, place.end) for place in found[0].places][3] == (9, 16)
    assert found[0].scores.shape == (5, 3)
    assert len(found[0].best) == 5
    seconds = [place for place in found[1].places or () if place.second]
    assert [place.text for place in seconds] == PAIRS[0][1].split()


def test_masks_are_filled(models: Any) -> None:
    text = "the [MASK] sits on the [MASK]"
    inner = bert_tokenizer()
    inner.encode_special_tokens = False
    ids = inner.encode(text).ids
    slots = [slot for slot, token in enumerate(ids) if token == SPECIALS.index("[MASK]")]
    run = models.masked.session.run({"input_ids": [ids], "token_type_ids": [[0] * len(ids)]})["logits"][0]
    short, found = fill_mask(models.masked, ["[MASK] cat", text], top=3)
    assert len(short) == 1
    assert [len(each) for each in found] == [3, 3]
    vocabulary = inner.get_vocab_size()
    for slot, filled in zip(slots, found, strict=True):
        scores = np.exp(run[slot].astype(np.float64))
        best = np.argsort(-scores[:vocabulary], kind="stable")[:3]
        assert [token.id for token in filled] == best.tolist()
        assert [token.score for token in filled] == pytest.approx((scores / scores.sum())[best], rel=1e-4)
        assert all(token.token for token in filled)
    alone = fill_mask(models.masked, ["[MASK] cat"])[0][0][:3]
    assert [token.id for token in alone] == [token.id for token in short[0]]  # whatever is beside it
    assert [token.score for token in alone] == pytest.approx([token.score for token in short[0]], rel=1e-4)
    assert SPECIALS.index("[MASK]") not in models.masked.tokenizer.encode("[MASK]")  # it is text again
    everything = fill_mask(models.masked, ["[MASK] cat"], top=10_000)[0][0]
    assert len(everything) == vocabulary


def test_too_long_is_refused_or_cut_when_asked(models: Any) -> None:
    text = " ".join(WORDS[:LENGTH])
    assert refused(embed, models.sentences, ["a", text]) == (
        "FX2101", f"at most {LENGTH} tokens, the special ones counted", f"{LENGTH + 2} tokens",
        "shorten it, or cut it with --truncate (in Python: Reading(truncate=True))",
    )  # fmt: skip
    cut = embed(models.sentences, [text, "a"], Reading(truncate=True))
    assert cut[:1] == pytest.approx(embed(models.sentences, [" ".join(WORDS[: LENGTH - 2])]), abs=1e-5)
    pair = next(models.sentences.read([(text, "the cat sits")], Reading(truncate=True))).encoding
    assert len(pair.ids) == LENGTH
    assert pair.ids[0] == SPECIALS.index("[CLS]")
    assert pair.type_ids.count(1) == 4  # the longer text was cut
    with pytest.raises(UserError, match=r"text 1 has lost its \[MASK\]"):
        fill_mask(models.masked, [f"{text} [MASK]"], Reading(truncate=True))
    assert refused(embed, models.sentences, [text])[0] == "FX2101"  # nothing of the cuts remains


def test_texts_that_cannot_be_read(models: Any) -> None:
    plain = TextModel(models.sentences.session, Tokenizer.train(TEXT, vocab_size=257))
    assert refused(embed, plain, [("a", "b")])[0] == "FX2101"
    assert refused(embed, plain, ["a", ""])[:3] == ("FX2101", "at least one", "none")
    assert refused(embed, models.sentences, ["\ud800"])[0] == "FX2003"
    for texts in ([], "a text", [1], [("a", "b", "c")], [["a", "b"]], None):
        assert refused(embed, models.sentences, texts)[0] == "FX2007"
        assert refused(fill_mask, models.masked, texts)[0] == "FX2007"
    assert refused(Reading, batch_size=0)[0] == "FX2007"
    assert refused(fill_mask, models.masked, ["no mask"])[:2] == ("FX2101", "[MASK]")
    assert refused(fill_mask, models.masked, ["[MASK] [SEP]"])[:3] == ("FX2101", "[MASK] and words", "[SEP]")
    assert refused(fill_mask, models.masked, ["[MASK]"], top=0)[0] == "FX2003"


def test_a_model_that_lacks_what_the_task_needs(models: Any, checkpoint: Path, tmp_path: Path) -> None:
    decoder = in_torch(checkpoint)
    cases = [
        (embed, models.moods, TEXTS, "list pooled vectors, or hidden states such as last_hidden_state: encoder, under"),
        (embed, decoder, ["def"], "list pooled vectors"),
        (classify, models.sentences, TEXTS, "add a head of classes"),
        (classify, decoder, ["def"], "use flexit fill-mask or flexit generate"),
        (fill_mask, models.sentences, ["[MASK]"], "add a head of masked tokens"),
        (fill_mask, models.tags, ["[MASK]"], "name the output of a head of masked tokens"),
        (fill_mask, decoder, ["def"], "use flexit generate"),
    ]
    for task, model, texts, cure in cases:
        code, _, _, told = refused(task, model, texts)
        assert (code, cure in told) == ("FX0801", True), (task, told)
    unmasked = TextModel(models.masked.session, Tokenizer.train(TEXT, vocab_size=257))
    assert refused(fill_mask, unmasked, ["[MASK]"])[0] == "FX0801"
    assert refused(fill_mask, models.masked, ["<x>"], mask="<x>")[0] == "FX0801"
    assert refused(embed, models.sentences, TEXTS, output="none")[:3] == ("FX0801", "pooled, last_hidden_state", "none")
    assert "pool it: --pool mean" in refused(embed, models.sentences, TEXTS, output="last_hidden_state")[3]
    two = TextModel(TorchSession(to_torch(load_spec("tiny-t5"))), models.masked.tokenizer)
    assert refused(embed, two, TEXTS)[2] == "input_ids, decoder_input_ids"
    several = (
        "  a: {kind: pool, from: encoder, method: max}\n  b: {kind: pool, from: encoder, method: first}",
        "{a: a, b: b}",
    )
    both = in_torch(write_model(tmp_path / "several", several))
    assert refused(embed, both, TEXTS)[3] == "choose one: --output a (in Python: output='a')"
    assert embed(both, TEXTS, output="b").shape == (5, 16)
    states = ("  a: {kind: dropout, from: encoder, p: 0.1}", "{states: a}")
    unpooled = in_torch(write_model(tmp_path / "unpooled", states))
    assert "pool its hidden states: --pool mean" in refused(embed, unpooled, TEXTS)[3]


def test_scores_that_are_no_numbers(models: Any) -> None:
    class Broken:
        interface = models.moods.session.interface

        def run(self, inputs: Any) -> Any:
            found = models.moods.session.run(inputs)["logits"]
            found[1, 0] = np.nan
            return {"logits": found}

    broken: Any = Broken()
    assert refused(classify, TextModel(broken, models.moods.tokenizer), TEXTS)[0] == "FX2005"


@pytest.mark.parametrize(
    "written", ["", "{}", "[]", '["a", 1]', '["a", "a"]', '["a", ""]', "[" * 100_000, '{"0": "a"}']
)
def test_labels_that_cannot_be_used(written: str, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(written)
    assert refused(read_labels, tmp_path / "labels.json")[0] == "FX2102"


def test_labels_of_other_classes(models: Any) -> None:
    wrong = TextModel(models.moods.session, models.moods.tokenizer, ("a", "b"))
    assert refused(classify, wrong, TEXTS)[:3] == ("FX2102", "3 labels", "2 (a, b)")


@pytest.mark.ort
def test_files_are_carried_into_a_bundle(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders["moods"]
    module = to_torch(read_spec(folder), read_weights(folder))
    (tmp_path / "labels.json").write_text(json.dumps(["x", "y", "z"]))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "special_tokens_map.json").write_text("{}")
    others = [tmp_path / name for name in ("labels.json", "chat_template.jinja", "special_tokens_map.json")]
    bundle = export(module, tmp_path / "bundle", carry=[folder / "tokenizer.json", *others])
    assert (bundle.folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert "special_tokens_map.json" in bundle.manifest["files"]
    model = TextModel.of(open_bundle(bundle.folder, threads=1), bundle.folder)
    assert model.labels == ("x", "y", "z")
    assert classify(model, TEXTS)[0].scores == pytest.approx(classify(in_torch(folder), TEXTS)[0].scores, abs=1e-4)
    for carry in ([folder / "spec.json"], [tmp_path / "nothing" / "labels.json"]):
        assert refused(export, module, tmp_path / "other", carry=carry)[0] == "FX2007"
    assert not (tmp_path / "other").exists()


@pytest.mark.ort
def test_the_command_carries_files_too(folders: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    labels, out = tmp_path / "labels.json", tmp_path / "bundle"
    labels.write_text(json.dumps(["x", "y", "z"]))
    assert run(["export", str(folders["moods"]), str(out), "--carry", str(tmp_path / "nothing.json")]) == 2
    assert "FX2007" in capsys.readouterr().err
    assert not out.exists()
    assert run(["export", str(folders["moods"]), str(out), "--carry", str(labels)]) == 0
    assert json.loads((out / "labels.json").read_text()) == ["x", "y", "z"]


def test_how_much_is_done(models: Any) -> None:
    told: list[tuple[int, int]] = []
    embed(models.sentences, TEXTS, Reading(batch_size=2, progress=lambda done, total: told.append((done, total))))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_a_pattern_that_gives_up_is_told_and_no_panic(tmp_path: Path, capfd: Any) -> None:
    written = json.loads(Tokenizer.train(["aaaa"], vocab_size=260).dumps())
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**written, "pre_tokenizer": split}))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    for read in (tokenizer.encode, lambda text: tokenizer.encode_all([text]), lambda text: tokenizer.read([text])):
        assert refused(read, "a" * 40 + "b")[0] == "FX2101"
    assert len(tokenizer.encode("aa")) > 0


def test_a_model_of_texts_is_not_made_to_continue_one(folders: dict[str, Path], capsys: Any) -> None:
    assert run(["generate", str(folders["masked"]), "-p", "the cat"]) == 2
    printed = capsys.readouterr().err
    assert "FX0801: the model does not continue texts" in printed
    assert "fill-mask" in printed
