"""Functions of the library that are given one another's arguments say what to make of them; never a raw error."""

from __future__ import annotations

from collections.abc import Callable

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
