"""Every canary compiles without a graph break, with dynamic shapes, and exports."""

import inspect

import pytest
import torch

from flexit.runtime.proof.compare import relative_error


@pytest.mark.slow
def test_compiles_as_one_graph_with_dynamic_shapes(canary, stressed, batch):
    module = stressed(canary)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch.no_grad():
        for rows, length in ((2, 5), (3, 9)):
            inputs = batch(module, rows, length)
            expected, found = module(**inputs), compiled(**inputs)
            for name, value in expected.items():
                assert relative_error(found[name].numpy(), value.numpy()) < 1e-6


@pytest.mark.slow
def test_torch_export(canary, stressed, batch):
    module = stressed(canary)
    order = inspect.signature(module.forward).parameters
    inputs = batch(module)
    inputs = {name: inputs[name] for name in order if name in inputs}
    shapes = {name: {0: torch.export.Dim("batch"), 1: torch.export.Dim.AUTO} for name in inputs}
    program = torch.export.export(module, (), inputs, dynamic_shapes=shapes)
    other = batch(module, 2, 6)
    with torch.no_grad():
        expected, found = module(**other), program.module()(**other)
    for name, value in expected.items():
        assert relative_error(found[name].numpy(), value.numpy()) < 1e-6
