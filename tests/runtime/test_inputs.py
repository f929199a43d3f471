"""Both sessions take the same inputs, whatever they come in, and refuse the same ones with the same words."""

import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flexit.errors import BundleError, ResourceError, TaskError
from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.sessions import arrays, ort_session
from flexit.runtime.sessions.ort_session import ModelFile, OrtSession
from flexit.runtime.sessions.torch_session import TorchSession
from tests.saved import spoilt
from tests.sessions import ort_session as beside
from tests.stressed import stressed

SPEC = """
flexit: 1
name: short
blocks:
  embed: {kind: embedding, vocab_size: 50, d_model: 16, position: {kind: learned, max_len: 12, ids: IDS}}
  decoder:
    kind: stack
    n_layers: 1
    layer:
      kind: transformer_layer
      norm: layer_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 2, mask: causal}
      feed_forward: {kind: mlp, d_ff: 32}
    final_norm: true
  head: {kind: lm_head, tied_to: embed}
"""
ENCODER = """
flexit: 1
name: frames
inputs: {frames: {kind: sequence, width: 8}}
blocks:
  mixed: {kind: residual, norm: rms_norm, norm_placement: pre, body: {kind: multi_head, n_heads: 2, mask: full}}
"""
IDS = [[3, 4, 5], [6, 7, 8]]
MASK = [[1, 1, 1], [0, 1, 1]]


def both(text, folder):
    """A PyTorch session and one of ONNX Runtime on the same weights."""
    spec = parse_spec(text)
    module = stressed(spec)
    return {"torch": TorchSession(module), "onnx": beside(module, folder, optimise=True)}


@pytest.fixture(scope="module", params=["rank", "slot"])
def counted(request):
    return request.param


@pytest.fixture(scope="module")
def decoders(counted, tmp_path_factory):
    return both(SPEC.replace("IDS", counted), tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return both(ENCODER, tmp_path_factory.mktemp("models"))


@pytest.fixture(params=["torch", pytest.param("onnx", marks=pytest.mark.ort)])
def session(request, decoders):
    return decoders[request.param]


@pytest.fixture(params=["torch", pytest.param("onnx", marks=pytest.mark.ort)])
def encoder(request, encoders):
    return encoders[request.param]


FORMS = {
    "lists": lambda numbers: numbers,
    "rows": lambda numbers: [np.array(row) for row in numbers],
    "int32": lambda numbers: np.array(numbers, np.int32),
    "uint8": lambda numbers: np.array(numbers, np.uint8),
    "reversed in memory": lambda numbers: np.array(numbers)[:, ::-1].copy()[:, ::-1],
    "tensor": torch.tensor,
    "int32 tensor": lambda numbers: torch.tensor(numbers, dtype=torch.int32),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_result_whatever_they_come_in(session, form):
    made = FORMS[form]
    expected = session.run({"input_ids": np.array(IDS), "attention_mask": np.array(MASK)})["logits"]
    found = session.run({"input_ids": made(IDS), "attention_mask": made(MASK)})["logits"]
    assert np.array_equal(found, expected)
    session.start({"input_ids": np.array(IDS), "attention_mask": np.array(MASK)})
    step = session.step(np.array([[9, 1], [2, 3]]), np.array([[1, 1], [1, 0]]))
    first = session.start({"input_ids": made(IDS), "attention_mask": made(MASK)})
    assert np.allclose(first, expected[:, -1], atol=1e-5)
    assert np.array_equal(session.step(made([[9, 1], [2, 3]]), made([[1, 1], [1, 0]])), step)


@pytest.mark.parametrize("mask", [np.array(MASK, np.bool_), torch.tensor(MASK) != 0, [[True] * 3, [False, True, True]]])
def test_masks_of_booleans(session, mask):
    expected = session.run({"input_ids": IDS, "attention_mask": MASK})["logits"]
    assert np.array_equal(session.run({"input_ids": IDS, "attention_mask": mask})["logits"], expected)


def test_none_is_nothing(session):
    expected = session.run({"input_ids": IDS})["logits"]
    assert np.array_equal(session.run({"input_ids": IDS, "attention_mask": None})["logits"], expected)


WRONG = {
    "an id below 0": ({"input_ids": [[3, -1]]}, "input_ids", "0 to 49; found -1 in row 0, slot 1"),
    "an id too large": ({"input_ids": [[3, 4], [50, 1]]}, "input_ids", "0 to 49; found 50 in row 1, slot 0"),
    "a huge id": ({"input_ids": np.array([[2**63]], np.uint64)}, "input_ids", "found 9223372036854775808"),
    "a tensor of floats": ({"input_ids": torch.ones(1, 2).double()}, "input_ids", "integers; found float64"),
    "ids of floats": ({"input_ids": [[1.0, 2.0]]}, "input_ids", "expected integers; found float64"),
    "text": ({"input_ids": [["a", "b"]]}, "input_ids", "expected integers"),
    "rows of several lengths": ({"input_ids": [[1, 2], [3]]}, "input_ids", "rows of several lengths"),
    "one axis": ({"input_ids": [1, 2]}, "input_ids", r"\[batch, length\].*found \[2\]"),
    "no token": ({"input_ids": [[], []]}, "input_ids", "at least one slot|at least one row and one slot"),
    "another object": ({"input_ids": object()}, "input_ids", "found a object"),
    "a mask of 2": ({"input_ids": [[1, 2]], "attention_mask": [[1, 2]]}, "attention_mask", "0 where .*; found 2"),
    "a mask of -1": ({"input_ids": [[1, 2]], "attention_mask": [[1, -1]]}, "attention_mask", "found -1"),
    "an additive mask": (
        {"input_ids": [[1, 2]], "attention_mask": [[0.0, -1e9]]}, "attention_mask", "found float64",
    ),
    "a mask of another length": (
        {"input_ids": [[1, 2]], "attention_mask": [[1, 1, 1]]}, "attention_mask", "2 slots, as input_ids; found 3",
    ),
    "a mask of other rows": (
        {"input_ids": [[1, 2]], "attention_mask": [[1, 1], [1, 1]]}, "attention_mask", "1 rows, as input_ids",
    ),
    "an unknown input": ({"input_ids": [[1]], "token_types": [[0]]}, "token_types", "no input token_types"),
    "nothing": ({}, "input_ids", "input_ids is missing"),
    "no mapping": ([[1, 2]], "", "a mapping of input_ids"),
    "too many tokens": ({"input_ids": [[1] * 13]}, "input_ids", "at most 12 .*; found 13"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("call", ["run", "start"])
def test_refused_with_the_same_words(session, case, call):
    inputs, path, words = WRONG[case]
    with pytest.raises(TaskError, match=words) as caught:
        getattr(session, call)(inputs)
    assert (caught.value.code, caught.value.problems[0].path) == ("FX2001", path)


@pytest.mark.parametrize("given", [[[2**63]], np.array([[0, 2**64 - 1]], np.uint64), [[0, -1]]], ids=str)
def test_numbers_that_no_table_bounds(given):
    """They are refused, not turned into others; the largest that int64 holds is taken."""
    assert arrays.integers("positions", [[2**63 - 1]], limit=None).tolist() == [[2**63 - 1]]
    assert arrays.lengths("prefix", np.array([2**63 - 1], np.uint64)).tolist() == [2**63 - 1]
    strange = next(int(number) for number in np.ravel(given) if not 0 <= number < 2**63)
    for call in (
        lambda: arrays.integers("name", given, limit=None), lambda: arrays.lengths("name", np.ravel(given))
    ):  # fmt: skip
        with pytest.raises(TaskError, match=rf"0 or more.*, below 2\*\*63; found {strange}") as caught:
            call()
        assert (caught.value.code, caught.value.problems[0].path) == ("FX2001", "name")


STEPS = {
    "an id below 0": (([[-1], [2]],), "input_ids", "0 to 49; found -1"),
    "an id too large": (([[1], [50]],), "input_ids", "0 to 49; found 50"),
    "one axis": (([1, 2],), "input_ids", r"\[batch, length\]"),
    "other rows": (([[1]],), "input_ids", "2 rows, as the rows that were started; found 1"),
    "a mask over the past": (([[1], [2]], [[1, 1, 1, 1]] * 2), "attention_mask", "1 slots, as input_ids; found 4"),
    "a mask of 3": (([[1], [2]], [[1], [3]]), "attention_mask", "found 3"),
    "too many tokens": (([[1] * 10] * 2,), "input_ids", "at most 12 .*; found 13"),
}


@pytest.mark.parametrize("case", STEPS)
def test_steps_are_refused_and_change_nothing(session, case):
    arguments, path, words = STEPS[case]
    session.start({"input_ids": IDS, "attention_mask": MASK})
    expected = session.step([[9], [10]])
    session.start({"input_ids": IDS, "attention_mask": MASK})
    with pytest.raises(TaskError, match=words) as caught:
        session.step(*arguments)
    assert (caught.value.code, caught.value.problems[0].path) == ("FX2001", path)
    assert np.array_equal(session.step([[9], [10]]), expected)


def failing(*arguments, **named):
    raise MemoryError


def test_a_step_that_fails_has_read_nothing(session, monkeypatch):
    session.start({"input_ids": IDS, "attention_mask": MASK})
    expected = session.step([[9], [10]])
    session.start({"input_ids": IDS, "attention_mask": MASK})
    with monkeypatch.context() as patch:
        patch.setattr(session, "_read", failing)
        with pytest.raises(MemoryError):
            session.step([[9], [10]])
    assert np.array_equal(session.step([[9], [10]]), expected)


@pytest.mark.parametrize("part", ["_begin", "_read"])
def test_a_start_that_fails_has_started_nothing(session, part, monkeypatch):
    session.start({"input_ids": IDS})
    with monkeypatch.context() as patch:
        patch.setattr(session, part, failing)
        with pytest.raises(MemoryError):
            session.start({"input_ids": [[1]]})
    with pytest.raises(TaskError, match="call start first"):
        session.step([[9], [10]])


def test_what_comes_with_no_token(session):
    session.start({"input_ids": IDS})
    with pytest.raises(TaskError, match="attention_mask does not come with each token"):
        session.step([[1], [2]], others={"attention_mask": [[1], [1]]})


def test_pads_take_no_position_where_ranks_are_counted(session, counted):
    ids, mask = [[1] * 14], [[0] * 2 + [1] * 12]
    if counted == "slot":
        with pytest.raises(TaskError, match="at most 12 slots in all; found 14 slots"):
            session.run({"input_ids": ids, "attention_mask": mask})
    else:
        alone = session.run({"input_ids": [[1] * 12]})["logits"]
        padded = session.run({"input_ids": ids, "attention_mask": mask})["logits"]
        assert np.allclose(padded[:, 2:], alone, atol=1e-5)


@pytest.mark.parametrize("wrong", [-1, 12])
def test_position_ids_have_a_table(decoders, wrong):
    with pytest.raises(TaskError, match=f"0 to 11; found {wrong}"):
        decoders["torch"].run({"input_ids": [[1, 2]], "position_ids": [[0, wrong]]})


def fresh(session):
    """A session on the same model that has read nothing."""
    if isinstance(session, TorchSession):
        return TorchSession(session.module)
    return OrtSession(session._files, session.interface)


def test_nothing_goes_on_before_it_was_started(session):
    again = fresh(session)
    for call in (lambda: again.step([[1]]), lambda: again.select([0])):
        with pytest.raises(TaskError, match="call start first") as caught:
            call()
        assert caught.value.code == "FX2006"
    with pytest.raises(TaskError):
        again.start({"input_ids": [[99]]})
    with pytest.raises(TaskError, match="call start first"):
        again.step([[1]])


def test_a_run_leaves_what_was_started_as_it_is(session):
    session.start({"input_ids": IDS, "attention_mask": MASK})
    expected = session.step([[9], [10]])
    session.start({"input_ids": IDS, "attention_mask": MASK})
    session.run({"input_ids": [[1, 2, 3, 4]]})
    assert np.array_equal(session.step([[9], [10]]), expected)


@pytest.mark.parametrize("rows", [[2], [-1], [], [0.5], [[0]], "0", [True, False]])
def test_rows_that_are_not_there(session, rows):
    session.start({"input_ids": IDS})
    with pytest.raises(TaskError, match="integers from 0 to 1") as caught:
        session.select(rows)
    assert caught.value.code == "FX2001"


def test_rows_may_be_a_list(session):
    session.start({"input_ids": IDS, "attention_mask": MASK})
    both_rows = session.step([[9], [10]])
    session.start({"input_ids": IDS, "attention_mask": MASK})
    session.select([1, 0])
    assert np.allclose(session.step([[10], [9]]), both_rows[::-1], atol=1e-5)


@pytest.mark.parametrize("made", [np.asarray, np.float16, torch.tensor, lambda x: torch.tensor(x).bfloat16(), list])
def test_values(encoder, made):
    numbers = (np.arange(24).reshape(1, 3, 8) / 8).tolist()
    expected = encoder.run({"frames": np.array(numbers, np.float32)})["last_hidden_state"]
    assert np.array_equal(encoder.run({"frames": made(numbers)})["last_hidden_state"], expected)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.ones((1, 3, 7)), r"8 numbers a slot; found \[1, 3, 7\]"),
        (np.full((1, 3, 8), np.nan), "found NaN or infinity"),
        (np.ones((3, 8)), r"\[batch, length, width\]"),
        (np.ones((1, 3, 8), np.complex64), "expected numbers; found complex64"),
    ],
)
def test_values_that_are_refused(encoder, given, words):
    with pytest.raises(TaskError, match=words) as caught:
        encoder.run({"frames": given})
    assert (caught.value.code, caught.value.problems[0].path) == ("FX2001", "frames")


# ---- generation


@pytest.mark.parametrize("count", [0, -3, 1.5, "8", None, True])
def test_a_number_of_new_tokens(session, count):
    with pytest.raises(TaskError, match=r"max_new_tokens.*\n.*an integer of at least 1") as caught:
        generate(session, [[1, 2]], max_new_tokens=count)
    assert caught.value.code == "FX2003"


@pytest.mark.parametrize("prompts", ["text", ["a"], [1, 2], [[1.5]], [[[1]]], 5, [None], [[2**63]], [[2**64]]])
def test_prompts_are_rows_of_ids(session, prompts):
    with pytest.raises(TaskError, match="a list of ids for each row") as caught:
        generate(session, prompts, max_new_tokens=1)
    assert caught.value.code == "FX2003"


def test_prompts_in_any_form(session):
    expected = generate(session, [[1, 2], [3, 4]], max_new_tokens=3)
    for prompts in (np.array([[1, 2], [3, 4]], np.int32), torch.tensor([[1, 2], [3, 4]]), ((1, 2), (3, 4))):
        assert generate(session, prompts, max_new_tokens=3) == expected


def test_there_is_room_or_it_is_said_before_anything_is_made(session):
    assert len(generate(session, [[1] * 10], max_new_tokens=3)[0]) == 3
    made = []
    with pytest.raises(TaskError, match=r"12 positions.*\n.*give at most 3") as caught:
        generate(session, [[1] * 10], max_new_tokens=4, on_tokens=made.append)
    assert (caught.value.code, made) == ("FX2003", [])
    with pytest.raises(TaskError, match=r"found 13 of the prompt and 1 new.*\n.*shorten the prompt"):
        generate(session, [[1] * 13], max_new_tokens=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers(bad):
    """A bias of the head that is no number; export refuses such a model, a PyTorch session runs it."""
    spec = parse_spec(SPEC.replace("IDS", "rank"))
    module = to_torch(spec).eval()
    with torch.no_grad():
        module.get_parameter("decoder.final_norm.bias")[0] = bad
    for sampling in (Sampling(), Sampling(temperature=1.0)):
        with pytest.raises(TaskError, match="NaN or infinity for row 0, new token 1") as caught:
            generate(TorchSession(module), [[1, 2]], max_new_tokens=2, sampling=sampling)
        assert caught.value.code == "FX2005"


# ---- the terminal


@pytest.mark.ort
def test_onnx_runtime_prints_nothing_of_its_own(bundle, tmp_path):
    """Its messages are inside ours, and nowhere else. The manifests are edited so that only it can refuse."""
    interface = json.loads((bundle / "manifest.json").read_text())["interface"]
    for entry in interface["inputs"]:
        entry["limit"] = None
    unbounded = spoilt(bundle, tmp_path / "unbounded", manifest={"interface": interface})
    broken = spoilt(bundle, tmp_path / "broken", model__onnx=b"\x08\x08\x12\x06flexit")
    code = textwrap.dedent("""
        import sys, flexit
        try:
            flexit.open_bundle(sys.argv[1]).run({"input_ids": [[7000]]})
        except ValueError as error:
            print(error)
        try:
            flexit.open_bundle(sys.argv[2])
        except ValueError as error:
            print(error)
    """)
    command = [sys.executable, "-c", code, str(unbounded), str(broken)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "ONNX Runtime refuses these inputs" in done.stdout
    assert "indices element out of data bounds" in done.stdout
    assert "FX1404" in done.stdout


def test_a_file_of_a_model_that_is_none(tmp_path, decoders):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"no model")
    with pytest.raises(BundleError, match="FX1404"):
        OrtSession([ModelFile(file, ())], decoders["torch"].interface)


@pytest.mark.ort
def test_no_memory_is_not_said_to_be_an_input_or_a_file(decoders, monkeypatch):
    session = decoders["onnx"]
    model = SimpleNamespace(get_inputs=session._decoder.get_inputs, get_outputs=session._decoder.get_outputs)
    monkeypatch.setattr(session, "_models", [model])
    model.run = failing
    with pytest.raises(ResourceError, match="FX1703"):
        session.run({"input_ids": IDS})
    monkeypatch.setattr(ort_session.ort, "InferenceSession", failing)
    with pytest.raises(MemoryError):
        OrtSession(session._files, session.interface)
