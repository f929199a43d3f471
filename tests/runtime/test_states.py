"""What decoding keeps: its compact form is less, and the result the same, whole and cached, in both backends."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import flexit
from flexit.cli.app import run
from flexit.errors import SpecError, UserError
from flexit.ir.analysis.cost import cost
from flexit.ir.block import Mixer
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import parse_spec
from flexit.ir.registry import find, names
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.proof.stress import stress_weights
from flexit.runtime.sessions.torch_session import TorchSession
from tests.stressed import stressed


def model(mixer):
    """A decoder of two layers with it."""
    layer = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre", "attention": mixer,
        "feed_forward": {"kind": "mlp", "d_ff": 20},
    }  # fmt: skip
    blocks = {
        "embed": {"kind": "embedding", "vocab_size": 30, "d_model": 16},
        "decoder": {"kind": "stack", "n_layers": 2, "layer": layer, "final_norm": True},
        "head": {"kind": "lm_head"},
    }
    return parse_spec(json.dumps({"flexit": 1, "name": "kept", "blocks": blocks}))


def compactable():
    """Examples of mixers that have another form of what they keep."""
    for kind in names(Mixer, Mixer):
        cls = find(Mixer, kind)
        for number, example in enumerate(cls.examples if cls is not None else ()):
            try:
                spec = model(example)
                compile_spec(spec, states="compact")
            except (SpecError, UserError):
                continue
            yield pytest.param(spec, id=f"{kind} {number}")


SPECS = list(compactable())


def test_something_has_another_form():
    assert len(SPECS) >= 3


@pytest.fixture
def inputs():
    ids = np.random.default_rng(3).integers(0, 30, (3, 9))
    mask = np.ones_like(ids)
    mask[1, :3], mask[2, 7:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_result_and_the_same_parameters(spec, inputs):
    weights = stress_weights(compile_spec(spec))
    full, compact = (to_torch(spec, weights, states=states) for states in ("full", "compact"))
    assert set(full.state_dict()) == set(compact.state_dict())
    assert compact.program.states != full.program.states
    assert cost(spec, states="compact").cache_per_token < cost(spec).cache_per_token
    assert cost(spec, states="compact").parameters == cost(spec).parameters
    valid = inputs["attention_mask"] != 0
    right = TorchSession(full).run(inputs)["logits"]
    assert relative_error(TorchSession(compact).run(inputs)["logits"], right, valid) < 1e-5


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_steps(spec, inputs):
    weights = stress_weights(compile_spec(spec))
    full, compact = (steps(TorchSession(to_torch(spec, weights, states=states)), inputs) for states in STATES)
    assert relative_error(compact, full, inputs["attention_mask"][:, 3:] != 0) < 1e-5


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("spec", SPECS)
def test_the_same_steps_in_onnx(spec, inputs, tmp_path):
    module = stressed(spec)
    right = steps(TorchSession(module), inputs)
    for states in STATES:
        bundle = export(module, tmp_path / states, states=states)
        assert bundle.manifest["evidence"]["error"] < 1e-4
        found = steps(open_bundle(tmp_path / states), inputs)
        assert relative_error(found, right, inputs["attention_mask"][:, 3:] != 0) < 1e-5, states


@pytest.mark.parametrize("spec", SPECS[:1])
def test_training_reaches_every_parameter_in_either_form(spec, inputs):
    for states in STATES:
        module = stressed(spec, states=states)
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        module(**tensors)["logits"].square().mean().backward()
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters()), states


@pytest.mark.slow
@pytest.mark.parametrize("states", ["full", "compact"])
@pytest.mark.parametrize("spec", SPECS[:2])
def test_a_step_of_either_form_is_one_graph_and_exports(spec, states):
    module = stressed(spec, states=states)

    def step(rows, past):
        ids = torch.randint(0, 30, (rows, past + 1), generator=torch.Generator().manual_seed(rows))
        cache = module(input_ids=ids[:, :-1], cache=module.empty_cache(rows))["cache"]
        return {"input_ids": ids[:, -1:].clone(), "attention_mask": torch.ones_like(ids)}, cache

    torch._dynamo.reset()
    backend = "aot_eager" if (states, spec) == ("full", SPECS[0].values[0]) else "eager"
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        given, cache = step(11, 13)
        auto = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
        along = [{0: torch.export.Dim.AUTO, state.axis: torch.export.Dim.AUTO} for state in module.program.states]
        shapes = {**dict.fromkeys(given, auto), "cache": along}
        exported = torch.export.export(module, (), {**given, "cache": cache}, dynamic_shapes=shapes).module()
        for sizes in ((11, 13), (7, 17)):
            given, cache = step(*sizes)
            right = module(**given, cache=cache)["logits"]
            with torch._dynamo.config.patch(error_on_recompile=True):
                assert torch.allclose(compiled(**given, cache=cache)["logits"], right, atol=1e-5), sizes
            assert torch.allclose(exported(**given, cache=cache)["logits"], right, atol=1e-5), sizes


@pytest.mark.ort
@pytest.mark.parametrize("spec", SPECS[:1])
def test_a_module_is_exported_as_it_is_unless_told_otherwise(spec, tmp_path):
    module = to_torch(spec, states="compact").bfloat16()
    kept = {
        name: {state["path"] for state in bundle.manifest["models"]["model.onnx"]["states"]}
        for name, bundle in (
            ("as it is", export(module, tmp_path / "a")),
            ("full", export(module, tmp_path / "b", states="full")),
        )
    }
    assert kept["as it is"] == {state.path for state in compile_spec(spec, states="compact").states}
    assert kept["full"] == {state.path for state in compile_spec(spec).states}


def test_a_model_without_another_form_says_so():
    spec = flexit.load_spec("tiny-llama")
    for function in (compile_spec, to_torch, cost):
        with pytest.raises(UserError, match=r"FX2007 states: .*\n.*no state of this model has a compact form"):
            function(spec, states="compact")
    with pytest.raises(UserError, match=r"FX2007 states: .*\n.*expected full or compact; found tiny"):
        to_torch(spec, states="tiny")
    with pytest.raises(UserError, match=r"a program has its own states"):
        cost(compile_spec(spec), states="compact")


@pytest.mark.parametrize("spec", SPECS[:1])
def test_the_command_line(spec, tmp_path, capsys):
    file = tmp_path / "kept.yaml"
    file.write_text(spec.to_yaml(), encoding="utf-8")
    caches = []
    for states in STATES:
        assert run(["cost", str(file), "--states", states, "--json"]) == 0
        caches.append(json.loads(capsys.readouterr().out)["cache_per_token"])
    assert caches[1] < caches[0]
    assert run(["cost", str(file), "--states", "small"]) == 2
    assert "FX2007" in capsys.readouterr().err


STATES = ("full", "compact")


def steps(session, given):
    """Scores from the fourth token on: four tokens at once, then three, then one at a time."""
    ids, mask = given["input_ids"], given["attention_mask"]
    parts = [session.start({"input_ids": ids[:, :4], "attention_mask": mask[:, :4]})[:, None]]
    parts += [session.step(ids[:, a:b], mask[:, a:b]) for a, b in ((4, 7), (7, 8), (8, 9))]
    return np.concatenate(parts, axis=1)
