"""Every canary compiles without a graph break, with dynamic shapes, and exports; decoders with a cache too."""

import inspect

import pytest
import torch

from flexit.ir.passes import cut
from flexit.lower.torch.module import build, fill
from flexit.runtime.proof.compare import relative_error
from tests.canaries.conftest import SPECS, load

SPEC = {path.stem: path for path in SPECS}
AT_NIGHT = {"capped", "latent", "positions", "two-encoders", "u-net"}
"""Those that the compiler takes longest for."""
FURTHER = {"tiny-capped", "tiny-llama", "tiny-positions", "tiny-t5"}


def by_day_and_night():
    for name in SPEC:
        yield pytest.param(name, marks=pytest.mark.nightly) if name in AT_NIGHT else name


@pytest.fixture(params=by_day_and_night(), ids=str)
def canary(request):
    return load(SPEC[request.param])


def assert_same(found, expected, tolerance=1e-6):
    for name, value in expected.items():
        pairs = zip(found[name], value, strict=True) if name == "cache" else [(found[name], value)]
        for a, b in pairs:
            assert relative_error(a.numpy(), b.numpy()) < tolerance, name


@pytest.mark.slow
def test_compiles_as_one_graph_with_dynamic_shapes(canary, stressed, batch):
    """What the compiler makes of the graph is its own: a few go on to what is behind it, which takes longer."""
    module = stressed(canary)
    torch._dynamo.reset()
    backend = "aot_eager" if canary.name in FURTHER else "eager"
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for rows, length in ((5, 11), (7, 13), (6, 17)):
            inputs = batch(module, rows, length)
            assert_same(compiled(**inputs), module(**inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixture", pytest.param("gpt2", marks=pytest.mark.nightly)])
def test_compiles_to_machine_code(name, stressed, batch):
    module = stressed(load(SPEC[name]))
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for rows, length in ((2, 5), (3, 9)):
            inputs = batch(module, rows, length)
            assert_same(compiled(**inputs), module(**inputs), tolerance=1e-5)


@pytest.mark.slow
def test_torch_export(canary, stressed, batch):
    module = stressed(canary)
    inputs = in_order(module, batch(module))
    sizes = (torch.export.Dim("batch"), torch.export.Dim.AUTO)
    shapes = {name: dict(enumerate(sizes[: value.dim()])) for name, value in inputs.items()}
    program = torch.export.export(module, (), inputs, dynamic_shapes=shapes)
    other = batch(module, 2, 6)
    with torch.no_grad():
        assert_same(program.module()(**other), module(**other))


@pytest.fixture
def decoder(canary, stressed):
    """The module that runs at every step."""
    module = stressed(canary)
    if module.program.decoded is None:
        pytest.skip("an encoder has no cached form")
    if not cut.has_static_states(module.program):
        return module
    weights = dict(module.named_parameters())
    part = build(cut.decode(module.program))
    names = {name for name, _ in part.named_parameters()}
    fill(part, {name: weights[name] for name in names}, dtype=torch.float32, device=torch.device("cpu"))
    return part.eval()


def cached_inputs(decoder, rows, past, new):
    """Inputs of a step after ``past`` tokens, the first row padded on the left, and random states."""
    generator = torch.Generator().manual_seed(rows * 100 + past * 10 + new)
    lengths = {decoder.program.decoded.total: past + new, decoder.program.decoded.seq: new, "batch": rows}
    given = {}
    for entry in decoder.program.inputs:
        if entry.role in ("position_ids", "document_ids"):
            continue
        name = entry.name.replace(".", "_")
        size = [dim if isinstance(dim, int) else lengths.get(str(dim), 6) for dim in entry.value.dims]
        if entry.role == "mask":
            given[name] = torch.ones(size, dtype=torch.int64)
            given[name][0, :2] = 0
        elif entry.role == "ids":
            given[name] = torch.randint(0, 90, size, generator=generator)
        elif entry.role == "prefix_lengths":
            given[name] = torch.arange(rows)
        else:
            given[name] = torch.randn(size, generator=generator)
    empty = decoder.empty_cache(rows)
    grown = [s.axis for s in decoder.program.states]
    sizes = [
        list(t.shape) if a is None else [*t.shape[:a], past, *t.shape[a + 1 :]]
        for t, a in zip(empty, grown, strict=True)
    ]
    states = [
        torch.randn(size, generator=generator)
        if like.is_floating_point()
        else torch.randint(0, 2, size, generator=generator)
        for size, like in zip(sizes, empty, strict=True)
    ]
    return in_order(decoder, given), states


def in_order(module, inputs):
    """Inputs in the order of the signature, which is that of their dynamic shapes."""
    return {name: inputs[name] for name in inspect.signature(module.forward).parameters if name in inputs}


@pytest.mark.slow
def test_cached_form_compiles_as_one_graph(decoder):
    torch._dynamo.reset()
    compiled = torch.compile(decoder, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        for rows, past, new in ((2, 7, 3), (3, 9, 1), (3, 12, 2)):
            inputs, cache = cached_inputs(decoder, rows, past, new)
            assert_same(compiled(cache=cache, **inputs), decoder(cache=cache, **inputs))


@pytest.mark.slow
def test_cached_form_exports(decoder):
    inputs, cache = cached_inputs(decoder, 3, 7, 4)
    auto = torch.export.Dim.AUTO
    shapes = {name: dict.fromkeys(range(value.dim()), auto) for name, value in inputs.items()}
    shapes["cache"] = [dict.fromkeys(range(value.dim()), auto) for value in cache]
    program = torch.export.export(decoder, (), {**inputs, "cache": cache}, dynamic_shapes=shapes)
    for rows, past, new in ((2, 9, 3), (5, 4, 2)):
        inputs, cache = cached_inputs(decoder, rows, past, new)
        with torch.no_grad():
            assert_same(program.module()(cache=cache, **inputs), decoder(cache=cache, **inputs))
