"""Each canary: trained a step, exported, proven, opened, verified, decoded with a cache."""

import numpy as np
import pytest
import torch

from flexit.ir.analysis.cost import position_limit
from flexit.ir.analysis.limits import positions_taken
from flexit.runtime.bundles.bundle import open_bundle, read_bundle
from flexit.runtime.bundles.verify import verify
from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.canaries.key_bias import moves_nothing


def test_training_step_reaches_every_parameter(canary, stressed, batch):
    module = stressed(canary).train()
    outputs = module(**batch(module), aux=True)
    loss = sum(value.square().mean() for name, value in outputs.items() if name != "aux")
    loss = loss + sum(torch.logsumexp(value, -1).square().mean() for side in outputs["aux"].values() for value in side)
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad != name.endswith("selection_bias"), name  # which no loss trains
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0 or moves_nothing(canary, name), name


def test_side_outputs_are_listed_in_layer_order(canary, stressed, batch):
    module = stressed(canary)
    aux = module(**batch(module), aux=True)["aux"]
    experts = {"tiny-moe": 4, "tiny-latent": 8}
    if canary.name in experts:
        assert {name: len(values) for name, values in aux.items()} == {"decoder.router_logits": 2}
        assert aux["decoder.router_logits"][0].shape[-1] == experts[canary.name]
    else:
        assert aux == {}


@pytest.mark.ort
def test_exports_with_evidence_and_verifies(canary, exported):
    module, folder = exported(canary)
    evidence = read_bundle(folder).manifest["evidence"]
    assert evidence["error"] <= 1e-4
    assert {(row["weights"], row["optimised"]) for row in evidence["rows"]} == {
        ("given", False), ("given", True), ("stress", False), ("stress", True),
    }  # fmt: skip
    limit = position_limit(module.program)
    if limit is None or limit >= 17 + 37:  # else the longest cases are left out
        assert {row["cases"] for row in evidence["rows"] if row["run"] == "cached"} <= {27}
        shapes = 9 if module.program.decoded is None else 27
        placed = 3 * bool(positions_taken(module.program))
        assert {row["cases"] for row in evidence["rows"] if row["run"] == "whole"} == {shapes + placed}
    assert any(row["run"] == "cached" for row in evidence["rows"]) == (module.program.decoded is not None)
    verdict = verify(folder)
    assert verdict.holds
    assert verdict.error <= 1e-5


@pytest.mark.ort
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, top_k=7, seed=5)], ids=["greedy", "top_k"])
def test_generates_the_same_in_both_and_padded_as_alone(canary, exported, sampling):
    module, folder = exported(canary)
    if module.program.decoded is None:
        pytest.skip("an encoder does not generate")
    prompts = [[5, 6, 7, 8], [9], [10, 11]]
    others = _sources(module, len(prompts))
    texts = []
    for session in (TorchSession(module), open_bundle(folder)):
        together = generate(session, prompts, max_new_tokens=8, sampling=sampling, others=others)
        for row, prompt in enumerate(prompts):
            alone = {name: array[row : row + 1] for name, array in others.items()}
            assert generate(session, [prompt], max_new_tokens=8, sampling=sampling, others=alone) == [together[row]]
        texts.append(together)
    assert texts[0] == texts[1]


def _sources(module, rows):
    decoded = module.program.decoded.name
    rng = np.random.default_rng(1)
    found = {}
    for entry in module.program.inputs:
        if entry.group == decoded:
            continue
        if entry.role == "ids":
            found[entry.name] = rng.integers(0, 90, (rows, 6))
        if entry.role == "values":
            found[entry.name] = rng.standard_normal((rows, 6, entry.value.dims[-1])).astype(np.float32)
    return found


def test_padded_rows_equal_rows_alone(canary, stressed, batch):
    module = stressed(canary)
    inputs = batch(module)
    together = TorchSession(module).run({name: value.numpy() for name, value in inputs.items()})
    masks = {e.group: inputs[e.name] for e in module.program.inputs if e.role == "mask"}
    for row in range(3):
        alone = {}
        for entry in module.program.inputs:
            if entry.role in ("ids", "values", "mask"):
                kept = masks[entry.group][row].bool()
                alone[entry.name] = inputs[entry.name][row : row + 1, kept].numpy()
        if canary.name == "tiny-bert" and not masks[""][row, 0]:
            continue  # BERT's positions count pads, so a left-padded row is another input
        if canary.name == "down-up" and not masks[""][row, 0]:
            continue  # groups are cut by slots, so left pads shift them
        result = TorchSession(module).run(alone)
        for name, value in together.items():
            valid = value[row]
            if not isinstance(module.program.outputs[name].dims[1], int):
                group = next(
                    g.name for g in module.program.groups if g.seq == str(module.program.outputs[name].dims[1])
                )
                valid = value[row][masks[group][row].bool().numpy()]
            assert relative_error(valid, result[name][0]) < 1e-5, (name, row)
