"""Functions of the library that are given one another's arguments say what to make of them; never a raw error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import flexit
from flexit.errors import UserError

SPEC = flexit.load_spec("tiny-t5")
MODULE = flexit.to_torch(SPEC, seed=0)
SESSION = flexit.TorchSession(MODULE)
IDS = torch.ones(1, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "code", "found", "cure"),
    [
        (lambda: flexit.export(SPEC, "out"), "FX2007", "a Spec", "build it: flexit.to_torch(spec, seed=0)"),
        (lambda: flexit.export(3, "out"), "FX2007", "an int", "give one of these"),
        (lambda: flexit.TorchSession("runs/t2"), "FX2007", "a str", "flexit.to_torch"),
        (lambda: flexit.embed(SESSION, ["a"]), "FX2007", "a TorchSession", "flexit.TextModel.of"),
        (lambda: flexit.classify(MODULE, ["a"]), "FX2007", "a Region", "flexit.TextModel.of"),
        (lambda: flexit.hidden_states("out", ["a"]), "FX2007", "a str", "flexit.TextModel.of"),
        (lambda: flexit.generate("out", [[1]], max_new_tokens=1), "FX2007", "a str", "flexit.open_bundle(folder)"),
        (lambda: flexit.generate(MODULE, [[1]], max_new_tokens=1), "FX2007", "a Region", "flexit.TorchSession(module)"),
        (lambda: flexit.TextModel.of(MODULE, "out"), "FX2007", "a Region", "flexit.TorchSession(module)"),
        (lambda: flexit.open_bundle(SPEC), "FX2007", "a Spec", "give the folder that an export wrote"),
        (lambda: flexit.verify(SESSION), "FX2007", "a TorchSession", "give the folder that an export wrote"),
        (lambda: MODULE(input_ids=IDS), "FX2001", "input_ids", "pass decoder_input_ids"),
        (lambda: MODULE(IDS, IDS, labels=IDS), "FX2001", "labels", "leave labels out"),
        (lambda: MODULE(input_ids=IDS, decoder_inputs_ids=IDS), "FX2001", "decoder_inputs_ids", "write decoder_input_"),
        (lambda: SESSION.run({"input_ids": [[1]]}), "FX2001", "input_ids", "pass decoder_input_ids"),
    ],
)  # fmt: skip
def test_what_is_given_in_the_place_of_another_thing(call: Callable[[], object], code: str, found: str, cure: str):
    with pytest.raises(UserError) as caught:
        call()
    (problem,) = caught.value.problems
    assert problem.code == code
    assert found in problem.found and cure in problem.cure


def test_the_input_that_is_missing_is_named():
    with pytest.raises(UserError, match="the input decoder_input_ids is missing"):
        MODULE(IDS)
    with pytest.raises(UserError, match="the model has no input labels and the input input_ids is missing"):
        SESSION.run({"labels": [[1]], "decoder_input_ids": [[1]]})


IDS_OF_TINY = [[1, 2]]


@pytest.fixture(scope="module")
def decoder() -> flexit.TorchSession:
    return flexit.TorchSession(flexit.to_torch(flexit.load_spec("tiny-llama"), seed=0))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"eos_id": "a"}, "FX2003"), ({"eos_id": -1}, "FX2003"), ({"eos_id": 10**6}, "FX2003"),
        ({"eos_id": [None]}, "FX2003"), ({"eos_id": True}, "FX2003"), ({"eos_id": 1.5}, "FX2003"),
        ({"pad_id": -1}, "FX2007"), ({"pad_id": 10**6}, "FX2007"), ({"pad_id": None}, "FX2007"),
        ({"pad_id": "a"}, "FX2007"), ({"sampling": {}}, "FX2007"), ({"sampling": 5}, "FX2007"),
        ({"others": 5}, "FX2007"), ({"others": [1]}, "FX2007"),
    ],
    ids=str,
)  # fmt: skip
def test_how_to_generate(decoder: flexit.TorchSession, arguments: dict[str, Any], code: str):
    with pytest.raises(UserError) as caught:
        flexit.generate(decoder, IDS_OF_TINY, max_new_tokens=2, **arguments)
    assert caught.value.code == code
    if "sampling" not in arguments:
        with pytest.raises(UserError) as caught:
            flexit.beam_search(decoder, IDS_OF_TINY, max_new_tokens=2, beams=flexit.Beams(n_beams=2), **arguments)
        assert caught.value.code == code
    with pytest.raises(UserError, match="FX2007 beams"):
        flexit.beam_search(decoder, IDS_OF_TINY, max_new_tokens=2, beams=3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("threads", [-1, 10**9, "a", None, 1.5, True])
def test_numbers_of_threads(bundle: Path, threads: Any):
    with pytest.raises(UserError, match="FX2007 threads"):
        flexit.open_bundle(bundle, threads=threads)


@pytest.mark.parametrize(
    "sizes", [{"seq": "a"}, {"seq": 10**30}, {"seq": -1}, {"seq": 1.5}, {"batch": 1.5}, {"batch": "a"}, {"batch": None}]
)
def test_sizes_of_a_cost(sizes: dict[str, Any]):
    with pytest.raises(UserError, match="FX1102"):
        flexit.cost(SPEC, **sizes)


def test_texts_and_ids_of_a_tokenizer():
    tokenizer = flexit.Tokenizer.train(["abc def"], vocab_size=260)
    for text in (None, 5, b"x", ["a"]):
        with pytest.raises(UserError, match="FX2007 text"):
            tokenizer.encode(text)  # pyright: ignore[reportArgumentType]
    for ids in (None, 5, [None], ["a"], [-1], [1.5], [2**70]):
        with pytest.raises(UserError, match="FX2003 ids"):
            tokenizer.decode(ids)  # pyright: ignore[reportArgumentType]
    assert tokenizer.decode([]) == "" and tokenizer.decode(tokenizer.encode("abc")) == "abc"
    for size in (10, 256, None, "a"):
        with pytest.raises(UserError, match="FX2007 vocab_size"):
            flexit.Tokenizer.train(["abc"], vocab_size=size)  # pyright: ignore[reportArgumentType]
    for texts in ("abc", None, 5):
        with pytest.raises(UserError, match="FX2007 texts"):
            flexit.Tokenizer.train(texts, vocab_size=300)  # pyright: ignore[reportArgumentType]


def test_tensors_without_numbers(decoder: flexit.TorchSession):
    nothing = torch.zeros(1, 2, dtype=torch.int64, device="meta")
    with pytest.raises(UserError, match="FX2001 input_ids"):
        decoder.run({"input_ids": nothing})
    weights = {name: value.to("meta") for name, value in MODULE.state_dict().items()}
    with pytest.raises(UserError, match="FX2002"):
        flexit.to_torch(SPEC, weights)
    for out in ("\0", "\ud800"):
        with pytest.raises(UserError, match="FX1302"):
            flexit.export(MODULE, out)
