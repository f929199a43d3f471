"""Weights are taken whole or refused: a parameter that is missing, unknown or of another shape is named."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import flexit
from flexit.errors import CheckpointError, UserError
from flexit.ir.io.load import load_spec, parse_spec
from flexit.lower.onnx.model import to_onnx
from flexit.lower.torch.module import to_torch

SPEC = load_spec("tiny-llama")
Weights = dict[str, np.ndarray]
SPOILT = {
    "missing": (lambda weights: weights.pop("decoder.final_norm.weight"), "decoder.final_norm.weight"),
    "unknown": (lambda weights: weights.update({"decoder.bias": np.zeros(3, np.float32)}), "decoder.bias"),
    "another shape": (
        lambda weights: weights.update({"decoder.final_norm.weight": np.zeros(3, np.float32)}),
        "decoder.final_norm.weight",
    ),
}


@pytest.fixture
def weights() -> Weights:
    """Random weights of the spec."""
    return {name: value.detach().numpy().copy() for name, value in to_torch(SPEC, seed=3).named_parameters()}


@pytest.mark.parametrize("how", SPOILT)
def test_refused_by_pytorch(how: str, weights: Weights):
    spoil, path = SPOILT[how]
    spoil(weights)
    with pytest.raises(UserError) as caught:
        to_torch(SPEC, {name: torch.from_numpy(value) for name, value in weights.items()})
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [("FX2002", path)]


@pytest.mark.parametrize("how", SPOILT)
def test_refused_by_onnx_with_nothing_written(how: str, weights: Weights, tmp_path):
    spoil, path = SPOILT[how]
    spoil(weights)
    with pytest.raises(UserError) as caught:
        to_onnx(SPEC, weights, tmp_path / "out")
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [("FX2002", path)]
    assert not list(tmp_path.rglob("*.onnx*"))


def test_every_problem_is_told(weights: Weights):
    for spoil, _ in (SPOILT["missing"], SPOILT["unknown"]):
        spoil(weights)
    with pytest.raises(UserError) as caught:
        to_torch(SPEC, {name: torch.from_numpy(value) for name, value in weights.items()})
    assert {problem.path for problem in caught.value.problems} == {"decoder.final_norm.weight", "decoder.bias"}


def test_what_is_taken_comes_back_the_same(weights: Weights):
    module = to_torch(SPEC, {name: torch.from_numpy(value) for name, value in weights.items()})
    assert {name: value.numpy().tobytes() for name, value in module.state_dict().items()} == {
        name: value.tobytes() for name, value in weights.items()
    }


FORMS = {
    "lists": lambda value: value.tolist(),
    "half": lambda value: value.astype(np.float16),
    "bf16": lambda value: value.astype(ml_dtypes.bfloat16),
    "bf16 tensors": lambda value: torch.from_numpy(value).bfloat16(),
    "not writable": lambda value: np.frombuffer(value.tobytes(), np.float32).reshape(value.shape),
    "big-endian": lambda value: value.astype(">f4"),
}
"""What weights come in."""


@pytest.mark.parametrize("form", FORMS)
def test_weights_in_any_form(form: str, weights: Weights, recwarn):
    given = {name: FORMS[form](value) for name, value in weights.items()}
    narrow = {"half": np.float16, "bf16": ml_dtypes.bfloat16, "bf16 tensors": ml_dtypes.bfloat16}.get(form, np.float32)
    for name, value in to_torch(SPEC, given).state_dict().items():
        assert np.array_equal(value.numpy(), weights[name].astype(narrow).astype(np.float32)), name
    assert not recwarn.list


@pytest.mark.parametrize("form", FORMS)
def test_onnx_takes_them_too(form: str, weights: Weights, tmp_path):
    given = {name: FORMS[form](value) for name, value in weights.items()}
    (file,) = to_onnx(SPEC, given, tmp_path / "given")
    narrow = {"half": np.float16, "bf16": ml_dtypes.bfloat16, "bf16 tensors": ml_dtypes.bfloat16}.get(form, np.float32)
    as_fp32 = {name: value.astype(narrow).astype(np.float32) for name, value in weights.items()}
    (other,) = to_onnx(SPEC, as_fp32, tmp_path / "fp32")
    assert [path.read_bytes() for path in (file, file.with_name("model.onnx.data"))] == [
        path.read_bytes() for path in (other, other.with_name("model.onnx.data"))
    ]


NO_NUMBERS = {
    "text": lambda size: np.full(size, "a"),
    "complex": lambda size: np.ones(size, np.complex64),
    "complex tensor": lambda size: torch.ones(size, dtype=torch.complex64),
    "booleans": lambda size: np.ones(size, np.bool_),
    "nothing": lambda size: [None] * size,
    "ragged": lambda size: [1.0] * (size - 1) + [[1.0]],
    "records": lambda size: np.zeros(size, [("a", np.float32)]),
    "raw bytes": lambda size: np.zeros(size, "V4"),
    "a number": lambda size: 3.0,
    "a text": lambda size: "a" * size,
    "an object": lambda size: object(),
}


@pytest.mark.parametrize("kind", NO_NUMBERS)
def test_what_is_no_array_of_numbers_is_named(kind: str, weights: Weights, tmp_path):
    path = "decoder.final_norm.weight"
    given = {**weights, path: NO_NUMBERS[kind](len(weights[path]))}
    for call in (lambda: to_torch(SPEC, given), lambda: to_onnx(SPEC, given, tmp_path / "out")):
        with pytest.raises(UserError) as caught:
            call()
        assert [(problem.code, problem.path) for problem in caught.value.problems] == [("FX2002", path)]


ARGUMENTS = {
    "a path for a spec": ({"spec": "tiny-llama"}, "FX2007", "spec"),
    "nothing for a spec": ({"spec": None}, "FX2007", "spec"),
    "a dtype by name": ({"dtype": "float32"}, "FX2007", "dtype"),
    "a dtype of integers": ({"dtype": torch.int64}, "FX2007", "dtype"),
    "no device": ({"device": "gpu"}, "FX2007", "device"),
    "an object as device": ({"device": object()}, "FX2007", "device"),
    "a device that is not here": ({"device": "cuda:77"}, "FX1702", "device"),
    "a seed that is text": ({"seed": "0"}, "FX2007", "seed"),
    "a fraction of a seed": ({"seed": 0.5}, "FX2007", "seed"),
    "no seed": ({"seed": None}, "FX2007", "seed"),
    "a list of weights": ({"weights": [1.0]}, "FX2007", "weights"),
    "a file of weights": ({"weights": "model.safetensors"}, "FX2007", "weights"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_of_to_torch(case: str):
    arguments, code, path = ARGUMENTS[case]
    with pytest.raises(UserError) as caught:
        to_torch(**{"spec": SPEC, **arguments})
    assert [(problem.code, problem.path) for problem in caught.value.problems] == [(code, path)]


@pytest.mark.parametrize("seed", [-5, 2**80, np.int32(3)])
def test_any_integer_is_a_seed(seed):
    assert to_torch(SPEC, seed=seed).state_dict().keys() == to_torch(SPEC).state_dict().keys()
    same = to_torch(SPEC, seed=int(seed)).get_parameter("embed.tokens.weight")
    assert torch.equal(to_torch(SPEC, seed=seed).get_parameter("embed.tokens.weight"), same)
    assert not torch.equal(to_torch(SPEC, seed=int(seed) + 1).get_parameter("embed.tokens.weight"), same)


@pytest.mark.parametrize("wrong", [None, 3, b"tiny-llama", ["tiny-llama"], {}])
def test_what_is_no_path_is_no_spec(wrong):
    with pytest.raises(UserError, match="a path, or the name of a preset") as caught:
        load_spec(wrong)
    assert caught.value.code == "FX2007"


@pytest.mark.parametrize("wrong", [None, 3, {}])
def test_what_is_no_text_is_no_spec(wrong):
    with pytest.raises(UserError, match="the text of a spec") as caught:
        parse_spec(wrong)
    assert caught.value.code == "FX2007"


@pytest.mark.parametrize("sets", ["blocks.embed.vocab_size=20", None, [3], 5])
def test_overrides_are_a_list_of_texts(sets):
    with pytest.raises(UserError, match="a list of texts such as") as caught:
        load_spec("tiny-llama", sets=sets)
    assert (caught.value.code, caught.value.problems[0].path) == ("FX2007", "sets")


def test_a_name_that_no_system_takes():
    with pytest.raises(UserError, match="FX0100"):
        load_spec("a\0b")


def test_another_target_is_refused(weights: Weights, tmp_path):
    with pytest.raises(UserError, match="FX2004"):
        to_onnx(SPEC, weights, tmp_path / "out", target="ort")  # pyright: ignore[reportArgumentType]


def test_a_checkpoint_is_a_module(checkpoint: Path) -> None:
    module = flexit.load_checkpoint(str(checkpoint))
    assert not module.training
    saved = load_file(checkpoint / "model.safetensors")
    parameters = dict(module.named_parameters())
    assert parameters.keys() == saved.keys()
    assert all(torch.equal(parameters[name], saved[name]) for name in saved)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        flexit.load_checkpoint(checkpoint.parent)
