"""Commands on texts: from arguments, files and standard input to lines, JSON and arrays; and what they refuse."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from flexit.cli import console
from flexit.cli.app import run
from flexit.cli.choosing import Choosing
from flexit.cli.generating import Request, speaker_at
from flexit.cli.texts import text_model_at
from flexit.ir.compile import compile_spec
from flexit.runtime.generation.beam import Beams, beam_search
from flexit.runtime.generation.generate import generate
from flexit.runtime.proof.stress import stress_weights
from flexit.runtime.saved import read_spec
from flexit.runtime.tasks.classify import classify
from flexit.runtime.tasks.embed import embed, hidden_states
from flexit.runtime.tasks.fill_mask import fill_mask
from tests.cli.test_nonsense import PLACES, Place, refused
from tests.saved import write_checkpoint
from tests.texts import MASKED, MOODS, PAIRS, SENTENCES, TAGS, TEXTS, write_model

NAMES = ["bad", "so-so", "good"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("models")
    forms = {"sentences": SENTENCES, "moods": MOODS, "tags": TAGS, "masked": MASKED}
    return {
        name: str(write_model(base / name, form, labels=NAMES if name in ("moods", "tags") else None))
        for name, form in forms.items()
    }


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def printed(capsys: Capture, *arguments: str) -> str:
    code = run(arguments)
    told = capsys.readouterr()
    assert code == 0, told.err
    return told.out


def test_vectors_as_lines_json_and_arrays(models: dict[str, str], capsys: Capture) -> None:
    expected = embed(text_model_at(models["sentences"]), TEXTS)
    Path("texts.txt").write_text("\n".join(TEXTS) + "\n")
    lines = printed(capsys, "embed", models["sentences"], *TEXTS).splitlines()
    assert np.array([line.split() for line in lines], float) == pytest.approx(expected, rel=1e-4)
    given = json.loads(printed(capsys, "embed", models["sentences"], "--file", "texts.txt", "--json"))
    assert np.array(given["vectors"]) == pytest.approx(expected)
    told = printed(capsys, "embed", models["sentences"], "--file", "texts.txt", "--out", "x.npy", "--batch-size", "2")
    assert told == "x.npy written: 5 x 16\n"
    assert np.load("x.npy") == pytest.approx(expected, abs=1e-5)
    printed(capsys, "embed", models["sentences"], "a", "--dim", "4", "--out", "x.npy", "--force")
    assert np.linalg.norm(np.load("x.npy"), axis=1) == pytest.approx(1.0)
    assert np.load("x.npy").shape == (1, 4)


def test_hidden_states(models: dict[str, str], capsys: Capture) -> None:
    expected = hidden_states(text_model_at(models["sentences"]), TEXTS)
    printed(capsys, "embed", models["sentences"], *TEXTS, "--tokens", "--out", "x.npz")
    with np.load("x.npz") as found:
        for index, states in enumerate(expected):
            assert found[str(index)] == pytest.approx(states, abs=1e-5)
    lines = printed(capsys, "embed", models["sentences"], "a cat", "--tokens").split("\n")
    assert [bool(line) for line in lines] == [True] * 4 + [False] * 2


def test_classes(models: dict[str, str], capsys: Capture) -> None:
    Path("pairs.jsonl").write_text("\n".join(json.dumps(pair) for pair in PAIRS))
    expected = classify(text_model_at(models["moods"]), PAIRS)
    lines = printed(capsys, "classify", models["moods"], "--file", "pairs.jsonl").splitlines()
    for line, each, pair in zip(lines, expected, PAIRS, strict=True):
        assert line == f"{each.best[0]}\t{each.scores.max():.4f}\t{pair[0]}\t{pair[1]}"
    found = json.loads(printed(capsys, "classify", models["moods"], "--file", "pairs.jsonl", "--json"))
    assert found["labels"] == NAMES
    assert [each["scores"] for each in found["results"]] == [pytest.approx(each.scores.tolist()) for each in expected]
    printed(capsys, "classify", models["moods"], *TEXTS, "--out", "x.npy", "--scores", "none")
    assert np.load("x.npy").shape == (5, 3)


def test_classes_of_tokens(models: dict[str, str], capsys: Capture) -> None:
    found = json.loads(printed(capsys, "classify", models["tags"], "The cat", "--json"))["results"][0]["tokens"]
    assert [(token["token"], token["start"], token["end"]) for token in found] == [("The", 0, 3), ("cat", 4, 7)]
    lines = printed(capsys, "classify", models["tags"], "The cat").splitlines()
    assert [line.split("\t")[::2] for line in lines[:2]] == [[t["label"], t["token"]] for t in found]
    printed(capsys, "classify", models["tags"], "The cat", "a", "--out", "x.npz")
    with np.load("x.npz") as arrays:
        assert [arrays[name].shape for name in arrays] == [(2, 3), (1, 3)]
    assert refused(capsys, "classify", models["tags"], "a", "--out", "x.npy") == "FX2104"


def test_masks(models: dict[str, str], capsys: Capture) -> None:
    text = "the [MASK] is [MASK]"
    expected = fill_mask(text_model_at(models["masked"]), [text], top=2)[0]
    lines = printed(capsys, "fill-mask", models["masked"], text, "--top", "2").splitlines()
    assert lines[0] == text
    assert [line.split() for line in lines[1:3]] == [[f"{each.score:.4f}", each.token] for each in expected[0]]
    found = json.loads(printed(capsys, "fill-mask", models["masked"], text, "--top", "2", "--json"))["results"][0]
    assert [[token["id"] for token in slot] for slot in found] == [[token.id for token in slot] for slot in expected]


def test_standard_input(models: dict[str, str], capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def typed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    typed(b"a cat\r\n\r\nthe dog")
    lines = printed(capsys, "classify", models["moods"], "--file", "-").splitlines()
    assert [line.split("\t")[2] for line in lines] == ["a cat", "", "the dog"]
    typed(b'"a cat"\n["the dog", "runs"]\n')
    lines = printed(capsys, "classify", models["moods"], "--file", "-", "--jsonl").splitlines()
    assert [line.split("\t")[2:] for line in lines] == [["a cat"], ["the dog", "runs"]]


def test_texts_that_are_none(models: dict[str, str], capsys: Capture) -> None:
    files: dict[str, tuple[bytes, str]] = {
        "empty.txt": (b"", "FX2103"),
        "latin.txt": (b"caf\xe9", "FX1602"),
        "numbers.jsonl": (b'"a"\n1\n', "FX2103"),
        "three.jsonl": (b'["a", "b", "c"]', "FX2103"),
        "deep.jsonl": (b"[" * 100_000, "FX2103"),
        "blank.jsonl": (b'"a"\n\n', "FX2103"),
    }
    for name, (content, code) in files.items():
        Path(name).write_bytes(content)
        assert refused(capsys, "embed", models["sentences"], "--file", name) == code, name
    assert refused(capsys, "embed", models["sentences"], "--file", "nothing.txt") == "FX1304"
    assert refused(capsys, "embed", models["sentences"]) == "FX2103"
    assert refused(capsys, "embed", models["sentences"], "a", "--file", "empty.txt") == "FX2103"
    assert run(["embed", models["sentences"], "--file", "numbers.jsonl"]) == 2
    assert "numbers.jsonl:2" in capsys.readouterr().err


def test_options_that_do_not_go_together(models: dict[str, str], capsys: Capture) -> None:
    sentences = models["sentences"]
    Path("there.npy").write_text("mine")
    Path("folder.npy").mkdir()
    for out, code in {"x.txt": "FX2104", "x.npz": "FX2104", "there.npy": "FX1301", "folder.npy": "FX1302",
                      "no/x.npy": "FX1304"}.items():  # fmt: skip
        assert refused(capsys, "embed", sentences, "a", "--out", out) == code, out
    assert Path("there.npy").read_text() == "mine"
    assert refused(capsys, "embed", sentences, "a", "--tokens", "--pool", "mean") == "FX1110"
    assert refused(capsys, "embed", sentences, "a", "--pool", "sum") == "FX2003"
    assert refused(capsys, "classify", models["moods"], "a", "--scores", "hard") == "FX2003"
    assert refused(capsys, "embed", sentences, "a " * 20) == "FX2101"
    assert printed(capsys, "embed", sentences, "a " * 20, "--truncate")


@pytest.mark.parametrize("command", ["embed", "classify", "fill-mask"])
def test_with_json_what_is_wrong_is_data(command: str, models: dict[str, str], capsys: Capture) -> None:
    for arguments in ([models["sentences"]], ["nothing", "a"], [models["sentences"], "[SEP]", "--output", "none"]):
        assert run([command, *arguments, "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["problems"][0]["cure"]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_places_that_are_no_models(place: Place, tmp_path: Path, capsys: Capture) -> None:
    where = place(tmp_path)
    for command in ("embed", "classify", "fill-mask"):
        refused(capsys, command, where, "text")
    refused(capsys, "bench", where)


def test_no_tokenizer(models: dict[str, str], capsys: Capture, tmp_path: Path) -> None:
    for name in ("spec.json", "model.safetensors"):
        (tmp_path / name).write_bytes(Path(models["moods"], name).read_bytes())
    assert refused(capsys, "classify", tmp_path, "a") == "FX1106"


def test_how_much_is_done_is_shown_after_two_seconds(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: list[float] = [100.0]
    monkeypatch.setattr(console, "time", type("Clock", (), {"monotonic": staticmethod(lambda: clock[0])}))
    with console.counting("embedding") as show:
        for second in range(1, 30):
            clock[0] += 1
            show(second, 30)
        show(30, 30)
    assert capsys.readouterr().err.splitlines() == [f"embedding: {done} of 30" for done in (2, 12, 22)]


PREFIX = [
    "blocks.decoder.n_layers=2", "blocks.decoder.layer.attention.mask=prefix", "outputs={logits: head, states: decoder}"
]  # fmt: skip


def prefix_model(folder: Path) -> str:
    """On weights on which it shows what is read both ways."""
    write_checkpoint(folder, sets=PREFIX)
    save_file(
        {name: torch.from_numpy(array) for name, array in stress_weights(compile_spec(read_spec(folder))).items()},
        folder / "model.safetensors",
    )
    return str(folder)


@pytest.mark.parametrize("choice", ["greedy", "beams"])
def test_a_prompt_is_the_prefix_that_is_read_both_ways(choice: str, tmp_path: Path) -> None:
    speaker = speaker_at(prefix_model(tmp_path / "prefix"))
    prompts = ["the tokenizer", "learn, a word of some", "of words", "functions"]
    choosing = Choosing(beams=2) if choice == "beams" else Choosing()
    made = speaker.speak(Request(prompts=prompts, source=None, max_new_tokens=8, choosing=choosing))
    rows = [speaker.tokenizer.encode(prompt) for prompt in prompts]
    both_ways, one_way = (
        [
            speaker.tokenizer.decode(generated(speaker.session, ids, length, choice=choice))
            for ids, length in zip(rows, lengths, strict=True)
        ]
        for lengths in ([len(ids) for ids in rows], [0] * len(rows))
    )
    assert made == both_ways
    assert made != one_way


def generated(session: Any, ids: list[int], length: int, *, choice: str) -> list[int]:
    given: Any = {"max_new_tokens": 8, "eos_id": 0, "others": {"prefix_lengths": [length]}}
    if choice == "greedy":
        return generate(session, [ids], **given)[0]
    return list(beam_search(session, [ids], beams=Beams(n_beams=2), **given)[0][0].tokens)


def test_all_of_a_text_is_read_both_ways(tmp_path: Path) -> None:
    model = text_model_at(prefix_model(tmp_path / "prefix"))
    texts = ["def a function", "some words"]
    for text, states in zip(texts, hidden_states(model, texts), strict=True):
        ids = model.tokenizer.encode(text)
        both = [model.session.run({"input_ids": [ids], "prefix_lengths": [n]})["states"][0] for n in (len(ids), 0)]
        assert states == pytest.approx(both[0], abs=1e-5)
        assert states[0] != pytest.approx(both[1][0], abs=1e-3)


@pytest.mark.ort
def test_bench(bundle: Path, capsys: Capture) -> None:
    size = ["--prompt", "5", "--new", "3", "--batch", "2", "--repetitions", "2"]
    found: dict[str, Any] = json.loads(printed(capsys, "bench", str(bundle), *size, "--json"))
    assert [each["session"] for each in found["sessions"]] == ["ONNX Runtime", "PyTorch"]
    for each in found["sessions"]:
        for part, tokens in (("prefill", 10), ("decode", 2)):
            times = each[part]
            assert 0 < times["min_ms"] <= times["median_ms"] <= times["max_ms"]
            assert times["tokens_per_second"] == pytest.approx(tokens / times["median_ms"] * 1e3)
        assert each["memory_bytes"] >= 0
    lines = printed(capsys, "bench", str(bundle), *size).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["session", "ONNX Runtime", "PyTorch"]
    assert "5 tokens at once, batch 2, median of 2" in lines[0]
