"""What a failed proof says of the place: the first block that differs, and whether rounding alone may be the cause."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flexit.errors import ProofError
from flexit.ir.builder import Graph
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.grid import Case, inputs_for
from flexit.runtime.proof.localise import Difference, _Check, first_difference
from flexit.runtime.proof.margins import margins_of
from flexit.runtime.proof.prove import Subject, _Run, agreed
from flexit.runtime.proof.rounding import exactly, roughly, rounding
from flexit.runtime.sessions.torch_session import TorchSession
from tests.canaries.conftest import SPECS, load

IDS = {"input_ids": np.array([[1, 2, 3, 4]])}


def model(cancelled):
    """A norm of one feature, which gives its sign; how much of what makes the feature up cancels, from 0 to 1."""
    graph = Graph("sign")
    graph.embedding(name="embed", vocab_size=8, d_model=16)
    graph.linear(name="narrow", d_out=1, bias=False)
    graph.rms_norm(name="norm", eps=1e-12)
    module = to_torch(graph.spec())
    table = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    weight = torch.randn(1, 16, generator=torch.Generator().manual_seed(4))
    along = (table @ weight.T) @ weight / (weight @ weight.T)
    with torch.no_grad():
        module.get_parameter("embed.tokens.weight").copy_(table - cancelled * along)
        module.get_parameter("narrow.weight").copy_(weight)
    return module


@pytest.mark.ort
def test_rounding_that_a_model_amplifies_is_measured():
    assert first_of_norms(model(cancelled=1.0)).rounding > 1e-3
    assert first_of_norms(model(cancelled=0.0)).rounding < 1e-6


def first_of_norms(module):
    """At the norm, which is all that is looked at: everything before it is taken as right."""
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    flat = replace(module.program, root=replace(module.program.root, marks={"norm": module.program.root.marks["norm"]}))
    found = first_difference(flat, weights, IDS, rows=np.array([True]), tolerance=-1.0)
    assert found is not None
    assert found.path == "norm"
    return found


@pytest.mark.ort
@pytest.mark.parametrize("name", ["t5", "two-encoders"])
def test_models_with_an_encoder_are_located_too(name):
    (path,) = [path for path in SPECS if path.stem == name]
    module = to_torch(load(path))
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    inputs = inputs_for(module.program, Case(2, 4, 0), np.random.default_rng(0))
    assert first_difference(module.program, weights, inputs, rows=np.array([True, True]), tolerance=1e-4) is None
    assert first_difference(module.program, weights, inputs, rows=np.array([True, True]), tolerance=-1.0) is not None


def where(error, rounding):
    run = object.__new__(_Run)
    run.tolerance, run.optimised = 1e-4, False
    return run._where(Difference("a.b", error, rounding), run_whole=True)


def test_rounding_is_named_where_it_may_be_the_cause():
    assert "amplifies rounding" in where(2e-4, 3e-5)
    assert "amplifies rounding" not in where(2e-4, 5e-6), "too little rounding"
    assert "amplifies rounding" not in where(1e-1, 3e-5), "too large an error"


def test_a_small_row_is_held_to_its_own_size():
    program = to_torch(load(SPECS[0])).program
    expected = np.ones((2, 3, 4))
    expected[1] /= 50
    found = expected.copy()
    found[1] *= 1 + 2e-4
    inputs = {"input_ids": np.ones((2, 3), np.int64), "attention_mask": np.ones((2, 3), np.int64)}
    name = next(iter(program.outputs))
    arrays = ({name: found}, {name: expected})
    assert _Check(program, inputs, np.array([False, True])).error(name, *arrays) == pytest.approx(2e-4)
    assert _Check(program, inputs, np.array([True, False])).error(name, *arrays) == 0


def decoder(cancelled):
    """The same with tokens that are read one by one."""
    graph = Graph("sign")
    graph.embedding(name="embed", vocab_size=8, d_model=16)
    graph.linear(name="narrow", d_out=1, bias=False)
    graph.rms_norm(name="norm", eps=1e-12)
    graph.lm_head(name="logits", vocab_size=8)
    module = to_torch(graph.spec())
    signs = model(cancelled)
    with torch.no_grad():
        for path in ("embed.tokens.weight", "narrow.weight"):
            module.get_parameter(path).copy_(signs.get_parameter(path))
    return module


def own_rounding(module, case):
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    inputs = inputs_for(module.program, Case(1, 2, 2), np.random.default_rng(0))
    return float(rounding(module.program, weights, inputs, case=case)[0])


def test_rounding_of_a_whole_model_is_measured():
    assert own_rounding(decoder(1.0), None) > 1e-3
    assert 0 < own_rounding(decoder(0.0), None) < 1e-5
    (path,) = [path for path in SPECS if path.stem == "llama"]
    assert 0 < own_rounding(to_torch(load(path)), Case(1, 2, 2)) < 1e-5


def test_moved_results_are_within_rounding():
    module = decoder(0.0)
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    exact = exactly(module.program, weights).run(IDS)["logits"]
    others = [session.run(IDS)["logits"] for session in roughly(module.program, weights)]
    assert len({other.tobytes() for other in others}) == len(others), "each is moved otherwise"
    assert max(np.abs(other - exact).max() for other in others) < 1e-5 * np.abs(exact).max()


class Wrong(TorchSession):
    def run(self, inputs):
        return {name: 1.001 * array for name, array in super().run(inputs).items()}


def test_what_is_kept_to_be_replayed_agrees():
    module = decoder(0.0)
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    right = TorchSession(module)
    subject = Subject(
        name="given", weights=weights, reference=right, session=lambda optimise: right, margins=margins_of(module)
    )  # fmt: skip
    kept = agreed(module.program, subject, Case(2, 3, 0))
    assert kept["input_ids"].shape == (2, 3)
    wrong = replace(subject, session=lambda optimise: Wrong(module))
    with pytest.raises(ProofError, match=r"differs from PyTorch by 1\.0e-03"):
        agreed(module.program, wrong, Case(2, 3, 0))
