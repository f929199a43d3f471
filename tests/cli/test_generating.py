"""``flexit generate``: ways to choose tokens, options that exclude each other, a model's own settings, stop strings."""

from __future__ import annotations

import itertools
import json
import shutil
import string
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel

from flexit.cli.app import run
from flexit.cli.choosing import Choosing
from flexit.errors import UserError
from flexit.runtime.generation.beam import Beams
from flexit.runtime.generation.generation_config import GenerationConfig
from flexit.runtime.generation.sampling import Sampling
from tests.cli.test_nonsense import refused
from tests.saved import spoilt

PROMPT = "aa"


@pytest.fixture(scope="module")
def talking(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in which every token is two letters, so that what an untrained model says can be read; none ends it."""
    letters = itertools.product(string.ascii_lowercase, repeat=2)
    inner = Tokenizer(WordLevel({"".join(pair): row for row, pair in zip(range(260), letters, strict=False)}, "aa"))
    inner.decoder = Fuse()
    files = {"tokenizer__json": inner.to_str().encode(), "generation_config__json": b"{}"}
    return spoilt(bundle, tmp_path_factory.mktemp("talking") / "bundle", **files)


def config(tmp_path: Path, **settings: object) -> GenerationConfig:
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps(settings))
    return GenerationConfig.read(file)


DRAWN = {"do_sample": True, "temperature": 0.7, "top_k": 30, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2}
SEARCHED = {"num_beams": 3, "length_penalty": 0.6, "repetition_penalty": 1.2}


@pytest.mark.parametrize(
    ("settings", "given", "way"),
    [
        ({}, {}, Sampling()),
        ({}, {"temperature": 0.8, "top_p": 0.5, "seed": 3}, Sampling(temperature=0.8, top_p=0.5, seed=3)),
        ({}, {"repetition_penalty": 1.5}, Sampling(repetition_penalty=1.5)),
        (DRAWN, {}, Sampling(temperature=0.7, top_k=30, top_p=0.9, min_p=0.1, repetition_penalty=1.2)),
        (DRAWN, {"top_k": 5}, Sampling(temperature=0.7, top_k=5, top_p=0.9, min_p=0.1, repetition_penalty=1.2)),
        (DRAWN, {"temperature": 0.0}, Sampling(repetition_penalty=1.2)),
        (DRAWN, {"beams": 2}, Beams(n_beams=2, repetition_penalty=1.2)),
        (DRAWN | {"do_sample": False}, {}, Sampling(repetition_penalty=1.2)),
        ({"temperature": 0.7, "top_k": 30}, {}, Sampling()),
        ({"do_sample": True, "top_k": 0}, {}, Sampling(temperature=1.0)),
        ({"do_sample": True, "top_k": None}, {}, Sampling(temperature=1.0)),
        (SEARCHED, {}, Beams(n_beams=3, length_penalty=0.6, repetition_penalty=1.2)),
        (SEARCHED, {"n_best": 2}, Beams(n_beams=3, length_penalty=0.6, n_best=2, repetition_penalty=1.2)),
        (SEARCHED, {"beams": 5, "length_penalty": 0.0},
         Beams(n_beams=5, length_penalty=0.0, repetition_penalty=1.2)),
        (SEARCHED, {"beams": 1}, Sampling(repetition_penalty=1.2)),
        (SEARCHED, {"temperature": 0.5}, Sampling(temperature=0.5, repetition_penalty=1.2)),
        (SEARCHED, {"temperature": 0.0, "repetition_penalty": 1.0}, Sampling()),
        ({}, {"beams": 4, "temperature": 0.0}, Beams(n_beams=4)),
    ],
)  # fmt: skip
def test_the_way_to_choose(
    settings: dict[str, object], given: dict[str, float], way: Sampling | Beams, tmp_path: Path
) -> None:
    assert Choosing(**given).resolved(config(tmp_path, **settings)) == way  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "given", "message", "cure"),
    [
        ({}, {"beams": 4, "temperature": 0.8}, "--temperature with --beams", "leave out --beams, or --temperature"),
        ({}, {"beams": 4, "top_k": 3, "min_p": 0.1}, "--top-k with --beams", "--top-k and --min-p"),
        (DRAWN, {"beams": 4, "top_p": 0.8}, "--top-p with --beams", "leave out --beams, or --top-p"),
        ({}, {"top_p": 0.8}, "--top-p without --temperature", "add --temperature 0.8"),
        (DRAWN, {"top_k": 8, "temperature": 0.0}, "--top-k without --temperature", "add --temperature 0.8"),
        ({}, {"n_best": 2}, "--n-best without --beams", "add --beams 4"),
        ({}, {"length_penalty": 2.0, "beams": 1}, "--length-penalty without --beams", "add --beams 4"),
        (SEARCHED, {"length_penalty": 2.0, "temperature": 1.0}, "--length-penalty without --beams", "add --beams 4"),
    ],
)
def test_what_makes_no_sense(
    settings: dict[str, object], given: dict[str, float], message: str, cure: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        Choosing(**given).resolved(config(tmp_path, **settings))  # type: ignore[arg-type]
    problem = caught.value.problems[0]
    assert (problem.code, problem.message) == ("FX1109", f"{message} makes no sense")
    assert cure in problem.cure


@pytest.mark.parametrize(
    "settings",
    [
        {"eos_token_id": []}, {"eos_token_id": [1, "2"]}, {"bos_token_id": True}, {"pad_token_id": [0]},
        {"temperature": "hot"}, {"top_p": 2.0}, {"top_k": 1.5, "do_sample": False}, {"num_beams": 0},
        {"num_beams": "4"}, {"length_penalty": 1e9}, {"repetition_penalty": 0}, {"min_p": [0.1]},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_cannot_be_used(settings: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        config(tmp_path, **settings)
    assert caught.value.code == "FX1109"
    problem = caught.value.problems[0]
    named = "n_beams" if "num_beams" in settings else next(iter(settings))
    assert named in problem.expected + problem.found


def test_ids_of_a_model(tmp_path: Path) -> None:
    found = config(tmp_path, bos_token_id=5, eos_token_id=[7, 9], pad_token_id=3)
    assert (found.start, found.eos, found.pad) == (5, (7, 9), 3)
    assert config(tmp_path, bos_token_id=5, decoder_start_token_id=6, eos_token_id=7).start == 6
    assert GenerationConfig.read(tmp_path / "none.json") == GenerationConfig()


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(["generate", *map(str, arguments)]) == 0
    return capsys.readouterr().out


@pytest.mark.ort
def test_options_reach_the_generation(talking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = (talking, "--prompt", PROMPT, "--max-new-tokens", "12")
    ways = [
        [], ["--repetition-penalty", "0.1"], ["--temperature", "1.5"], ["--temperature", "1.5", "--top-p", "0.3"],
        ["--temperature", "1.5", "--min-p", "0.9"], ["--temperature", "1.5", "--seed", "3"],
        ["--beams", "4", "--length-penalty", "0"],
    ]  # fmt: skip
    texts = [said(capsys, *common, *way) for way in ways]
    assert all(text.startswith(PROMPT) and text.endswith("\n") for text in texts)
    assert len(set(texts)) == len(ways)
    assert said(capsys, *common, "--temperature", "1.5", "--top-p", "1e-9") == texts[0]  # the best token alone


@pytest.mark.ort
def test_the_best_of_a_search(talking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = (talking, "--max-new-tokens", "5", "--beams", "4", "--prompt", PROMPT)
    lines = said(capsys, *common, "--n-best", "3").splitlines()
    scores, texts = zip(*(line.split("  ", 1) for line in lines), strict=True)
    assert list(map(float, scores)) == sorted(map(float, scores), reverse=True)
    assert len(set(texts)) == 3
    assert said(capsys, *common) == f"{texts[0]}\n"
    assert said(capsys, *common, "--prompt", "bb").startswith(f"{texts[0]}\n\nbb")


@pytest.mark.ort
@pytest.mark.parametrize("way", [[], ["--beams", "2"]], ids=["greedy", "beams"])
def test_stop_strings(way: list[str], talking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = (talking, "--max-new-tokens", "16", "--prompt", PROMPT, *way)
    whole = said(capsys, *common)[len(PROMPT) : -1]
    if not way:
        stop = next(whole[at : at + 2] for at in range(3, len(whole)) if whole[at : at + 2] not in whole[: at + 1])
        assert said(capsys, *common, "--stop", "never there", "--stop", stop) == (
            PROMPT + whole[: whole.index(stop)] + "\n"
        )
    each = whole[len(whole) // 2]
    assert each not in said(capsys, *common, "--stop", each)[len(PROMPT) :]
    assert refused(capsys, "generate", *common, "--stop", "") == "FX2003"


@pytest.mark.ort
def test_the_settings_of_a_bundle_hold(talking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"do_sample": True, "temperature": 1.5, "top_k": 9}
    warm = spoilt(talking, tmp_path / "warm", generation_config__json=json.dumps(settings).encode())
    common = ("--prompt", PROMPT, "--max-new-tokens", "8")
    asked = said(capsys, talking, *common, "--temperature", "1.5", "--top-k", "9")
    assert said(capsys, warm, *common) == asked
    assert said(capsys, warm, *common, "--temperature", "0") == said(capsys, talking, *common) != asked


def test_a_checkpoint_with_wrong_settings(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    (folder / "generation_config.json").write_text('{"top_p": 7}')
    assert refused(capsys, "generate", folder, "--prompt", "def") == "FX1109"
