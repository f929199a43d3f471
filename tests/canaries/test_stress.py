"""Stress weights show faults that fresh weights hide; a proof that decides nothing is no proof."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flexit.errors import ProofError
from flexit.ir.ops.attention import Attention
from flexit.ir.passes.inline import inline
from flexit.ir.program import Node
from flexit.lower.torch.module import build, fill, to_torch
from flexit.runtime.bundles.export import export
from flexit.runtime.proof.stress import stress_weights
from tests.canaries.conftest import SPECS, load

SPEC = {path.stem: path for path in SPECS}


def test_gains_are_not_one_and_biases_not_zero(canary):
    program = to_torch(canary).program
    weights = stress_weights(program)
    for param in program.params():
        value = weights[param.path]
        assert value.std() > 0.1 or param.size < 8 or param.role not in ("gain", "bias"), param.path
        if param.role == "gain":
            assert np.abs(value + param.offset - 1).max() > 0.3, param.path
        if param.role == "bias":
            assert np.abs(value).max() > 0.3, param.path
        assert len(np.unique(value)) > 0.9 * param.size, f"{param.path} repeats itself"


def peaks(module, inputs):
    """For each attention: the largest weight of a query over the equal share, on average over queries of many keys."""
    flat = inline(module.program)
    nodes = [node for node in flat.root.nodes if isinstance(node, Node) and isinstance(node.op, Attention)]
    outputs = {f"{i}.{slot}": value for i, node in enumerate(nodes)
               for slot, value in zip("qkvmb", node.inputs, strict=False) if value is not None}  # fmt: skip
    probe = build(replace(flat, outputs=outputs, decoded=None,
                          root=replace(flat.root, outputs=tuple(outputs.values()), side={})))  # fmt: skip
    values = dict(module.named_parameters())
    fill(probe, {n: values[n] for n, _ in probe.named_parameters()}, dtype=torch.float32, device=torch.device("cpu"))
    with torch.no_grad():
        found = probe.eval()(**inputs)
    for i, node in enumerate(nodes):
        q, k, mask = found[f"{i}.q"], found[f"{i}.k"], found[f"{i}.m"]
        scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(-1, -2) * node.op.scale
        scores = (scores + found.get(f"{i}.b", 0)).masked_fill(~mask, -torch.inf)
        visible = mask.expand_as(scores).sum(-1)
        largest = torch.softmax(scores, -1).amax(-1) * visible
        yield node.path, float(largest[visible >= 3].mean())


def test_softmax_is_not_flat(canary, stressed, batch):
    module = stressed(canary)
    inputs = batch(module, 3, 12)
    found = dict(peaks(module, inputs))
    if canary.name == "tiny-gpt2":
        flat = dict(peaks(to_torch(canary), inputs))
        assert max(flat.values()) < 1.05, "fresh weights attend almost evenly, which is why they prove little"
    for path, peak in found.items():
        assert peak > 1.3, f"{path} attends almost evenly: {peak:.2f} of an equal share at most"


@pytest.mark.ort
def test_a_proof_that_decides_nothing_fails(tmp_path):
    """Every token has a twin with the same row in the table, so that no greedy choice is one."""
    spec = load(SPEC["gpt2"])
    weights = to_torch(spec).state_dict()
    table = weights["embed.tokens.weight"]
    table[1::2] = table[:-1:2]
    with pytest.raises(ProofError, match="too close to call, more than 1 %") as error:
        export(to_torch(spec, weights), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists(), error
