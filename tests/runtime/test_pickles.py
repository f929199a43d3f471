"""Modules go through pickles and copies, though their classes are made when they are built."""

import copy
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.proof.grid import Case, inputs_for
from flexit.runtime.sessions.torch_session import TorchSession

WAYS = {
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "deepcopy": copy.deepcopy,
}


def inputs(module):
    return inputs_for(module.program, Case(2, 5, 0), np.random.default_rng(0))


@pytest.fixture(params=["tiny-llama", "tiny-moe", "tiny-t5", "tiny-short-conv", "tiny-bert-classifier"])
def module(request):
    return to_torch(load_spec(request.param)).eval()


@pytest.mark.parametrize("way", WAYS)
def test_the_same_model_that_shares_nothing(module, way):
    again = WAYS[way](module)
    assert isinstance(again, FlexitModule)
    assert list(again.state_dict()) == list(module.state_dict())
    assert not again.training
    given = inputs(module)
    expected = TorchSession(module).run(given)
    found = TorchSession(again).run(given)
    assert {name: array.tobytes() for name, array in found.items()} == {n: a.tobytes() for n, a in expected.items()}
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    assert all(array.tobytes() == TorchSession(module).run(given)[n].tobytes() for n, array in expected.items())


@pytest.mark.parametrize("way", WAYS)
def test_what_was_done_to_it_is_kept(way):
    """Precision, mode, frozen parameters, replaced modules, shared parameters."""
    module = to_torch(load_spec("tiny-llama"), dtype=torch.float64).train()
    module.get_parameter("decoder.layers.0.attention.q_proj.weight").requires_grad_(False)
    first, second = (module.get_submodule(f"decoder.layers.{i}.attention") for i in (0, 1))
    second.register_parameter("shared", first.get_parameter("k_proj.weight"))
    layer = module.get_submodule("decoder.layers.1.feed_forward")
    layer.add_module("up_proj", torch.nn.Sequential(layer.get_submodule("up_proj")))
    again = WAYS[way](module)
    assert again.training
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float64}
    assert not again.get_parameter("decoder.layers.0.attention.q_proj.weight").requires_grad
    k_proj = again.get_parameter("decoder.layers.0.attention.k_proj.weight")
    assert again.get_parameter("decoder.layers.1.attention.shared") is k_proj
    assert isinstance(again.get_submodule("decoder.layers.1.feed_forward.up_proj"), torch.nn.Sequential)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(again(input_ids=ids)["logits"], module(input_ids=ids)["logits"])


def test_layers_of_one_region_have_one_class_again():
    module = pickle.loads(pickle.dumps(to_torch(load_spec("tiny-llama"))))
    layers = [module.get_submodule(f"decoder.layers.{i}") for i in (0, 1)]
    assert type(layers[0]) is type(layers[1])
    assert layers[0].code == to_torch(load_spec("tiny-llama")).get_submodule("decoder.layers.0").code


def test_a_layer_alone():
    layer = to_torch(load_spec("tiny-llama")).get_submodule("decoder.layers.0")
    again = pickle.loads(pickle.dumps(layer))
    assert {n: v.numpy().tobytes() for n, v in again.state_dict().items()} == {
        n: v.numpy().tobytes() for n, v in layer.state_dict().items()
    }


def test_one_side_of_a_cut_is_another_program_than_the_spec_says():
    decoder = TorchSession(to_torch(load_spec("tiny-t5")))._decoder
    again = pickle.loads(pickle.dumps(decoder))
    assert [entry.name for entry in again.program.inputs] == [entry.name for entry in decoder.program.inputs]


def test_a_copy_has_the_same_spec_and_program():
    module = to_torch(load_spec("tiny-llama"))
    again = copy.deepcopy(module)
    assert (again.spec, again.program) == (module.spec, module.program)
    assert type(again) is type(module)


@pytest.mark.slow
def test_saved_whole_and_loaded_in_another_process(tmp_path):
    module = to_torch(load_spec("tiny-llama"), seed=3).eval()
    torch.save(module, tmp_path / "module.pt")
    torch.save(module.state_dict(), tmp_path / "state.pt")
    code = textwrap.dedent("""
        import sys, torch, flexit
        module = torch.load(sys.argv[1], weights_only=False)
        other = flexit.to_torch(flexit.load_spec("tiny-llama"), torch.load(sys.argv[2])).eval()
        logits = [each(input_ids=torch.tensor([[1, 2, 3]]))["logits"] for each in (module, other)]
        assert torch.equal(*logits)
        print(module.spec.name, float(logits[0].detach().double().sum()))
    """)
    command = [sys.executable, "-c", code, str(tmp_path / "module.pt"), str(tmp_path / "state.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    name, total = done.stdout.split()
    assert name == module.spec.name
    expected = module(input_ids=torch.tensor([[1, 2, 3]]))["logits"].detach().double().sum()
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
