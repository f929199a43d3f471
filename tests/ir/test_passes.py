"""What every pass promises: the same program, well-formed before and after, and nothing left for a second run."""

import importlib
import pkgutil
from pathlib import Path

import pytest
import torch

import flexit.ir.passes
from flexit.ir.analysis.cost import cost
from flexit.ir.analysis.structure import structure
from flexit.ir.expansion.expand import _Document
from flexit.ir.io.load import load_spec
from flexit.ir.passes.cut import decode, encode, has_static_states
from flexit.ir.passes.inline import inline
from flexit.ir.passes.merge import merge
from flexit.ir.passes.prune import prune
from flexit.ir.program import Call, Node, Param, Program, Region, Value, walk
from flexit.ir.views.printer import show
from flexit.lower.torch.module import build, fill
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.proof.stress import stress_weights

SPECS = sorted((Path(__file__).parents[1] / "canaries" / "specs").glob("*.yaml"))
WHOLE = {"prune": prune, "merge": merge, "inline": inline}
"""Passes that keep the whole program; ``cut`` makes two of one."""


@pytest.fixture(params=SPECS, ids=lambda path: path.stem)
def written(request) -> Program:
    """A canary's program as expansion writes it, before any pass."""
    document = _Document(load_spec(request.param), lambda _: False)
    assert not document.e.faults
    return document.program(None, "as a whole")


def verify(program: Program) -> None:
    """Every value is made once and before it is read, calls fit their regions, and paths are unique."""
    assert tuple(program.outputs.values()) == program.root.outputs
    assert {entry.value for entry in program.inputs} == set(program.root.inputs)
    for _, region in walk(program.root):
        _verify_region(region)
    shapes: dict[str, tuple[int, ...]] = {}
    for param in program.params():
        assert shapes.setdefault(param.path, param.shape) == param.shape
    states = [state.path for state in program.states]
    assert len(states) == len(set(states))


def _verify_region(region: Region) -> None:
    made: set[Value] = set()
    for values in (region.inputs, *(node.outputs for node in region.nodes)):
        assert not made & set(values), f"@{region.name} makes a value twice"
        made |= set(values)
    known = set(region.inputs)
    for node in region.nodes:
        read = {value for value in node.inputs if value is not None}
        if isinstance(node, Node):
            read |= {param for param in node.params.values() if not isinstance(param, Param)}
        else:
            inner = node.region
            assert [v.type for v in node.inputs] == [v.type for v in inner.inputs], node.path
            assert [v.type for v in node.outputs] == [v.type for v in (*inner.outputs, *inner.side.values())], node.path
        assert read <= known, f"@{region.name} reads a value before it is made"
        known |= set(node.outputs)
    assert {*region.outputs, *region.side.values(), *region.marks.values()} <= known, f"@{region.name}"


def outputs_of(program: Program, weights, inputs) -> dict[str, torch.Tensor]:
    module = build(program)
    names = [name for name, _ in module.named_parameters()]
    fill(module, {name: weights[name] for name in names}, dtype=torch.float32, device=torch.device("cpu"))
    with torch.no_grad():
        return module.eval()(**{entry.name: inputs[entry.name] for entry in program.inputs if entry.name in inputs})


def inputs_of(program: Program) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    found = {}
    for entry in program.inputs:
        size = [dim if isinstance(dim, int) else {"batch": 2}.get(str(dim), 7) for dim in entry.value.dims]
        if entry.role == "ids":
            found[entry.name] = torch.randint(0, 2, size, generator=generator)
        elif entry.role in ("values", "vector"):
            found[entry.name] = torch.randn(size, generator=generator)
    return found


def test_every_pass_is_here():
    names = {module.name for module in pkgutil.iter_modules(flexit.ir.passes.__path__)}
    assert names == {
        *WHOLE,
        "cut",
        "edit",
        "freeze",
        "lora",
    }  # those that take more than a program have tests of their own
    assert all(hasattr(importlib.import_module(f"flexit.ir.passes.{name}"), name) for name in WHOLE)


@pytest.mark.parametrize("name", WHOLE)
def test_says_the_same_and_twice_is_once(written, name):
    apply = WHOLE[name]
    verify(written)
    before = show(written)
    once = apply(written)
    assert show(written) == before, "the pass changed what it was given"
    verify(once)
    twice = apply(once)
    verify(twice)
    assert show(twice) == show(once)
    assert structure(twice.root) == structure(once.root)
    weights, inputs = stress_weights(written), inputs_of(written)
    found, expected = outputs_of(once, weights, inputs), outputs_of(written, weights, inputs)
    assert found.keys() == expected.keys()
    for output, value in expected.items():
        assert relative_error(found[output].numpy(), value.numpy()) < 1e-6, output


@pytest.mark.parametrize("name", ["prune", "merge"])
def test_nothing_to_do_is_the_same_program(written, name):
    once = WHOLE[name](written)
    assert WHOLE[name](once) is once


def test_prune_drops_what_nobody_reads(written):
    for region in regions(prune(written).root):
        read = {v for node in region.nodes for v in node.inputs} | {*region.outputs, *region.side.values()}
        read |= {v for node in region.nodes if isinstance(node, Node) for v in node.params.values()}
        assert all(set(node.outputs) & read for node in region.nodes), region.name


def test_merge_joins_layers_that_differ_only_in_what_they_are_handed():
    document = _Document(load_spec(SPECS[[path.stem for path in SPECS].index("llama")]), lambda _: True)
    before = prune(document.program("", ""))
    after = merge(before)
    layers = [[node.region for node in p.root.nodes if isinstance(node, Call)] for p in (before, after)]
    assert [len(set(found)) for found in layers] == [2, 1], "a window and its absence are masks made outside"
    assert len(layers[1]) == 3
    assert len(regions(after.root)) == 4, "one layer, one attention, one feed-forward and the root"


def test_inline_leaves_no_calls_and_all_names(written):
    flat = inline(written)
    assert not any(isinstance(node, Call) for node in flat.root.nodes)
    assert {p.path for p in flat.params()} == {p.path for p in written.params()}
    assert [state.path for state in flat.states] == [state.path for state in written.states]
    assert flat.root.side.keys() == written.root.side.keys()


def regions(root: Region) -> list[Region]:
    """Every distinct region."""
    return list(dict.fromkeys(region for _, region in walk(root)))


@pytest.mark.parametrize("path", [p for p in SPECS if p.stem in ("t5", "two-encoders")], ids=lambda path: path.stem)
def test_cut_parts_are_well_formed_and_together_hold_every_parameter(path):
    from flexit.ir.compile import compile_spec

    program = compile_spec(load_spec(path))
    assert has_static_states(program)
    encoder, decoder = encode(program), decode(program)
    for part in (encoder, decoder):
        verify(part)
        assert show(prune(part)) == show(part)
    statics = [state.path for state in program.states if state.rule == "static"]
    assert list(encoder.outputs) == statics
    assert {entry.name for entry in decoder.inputs} >= set(statics)
    assert decoder.decoded == program.decoded and not has_static_states(decoder)
    held = {param.path for part in (encoder, decoder) for param in part.params()}
    assert held == {param.path for param in program.params()}
    assert cost(encoder).parameters < cost(program).parameters


def test_text_form(golden):
    """The printed program is stable; a change of it is a change of every golden, hash and error that shows it."""
    from flexit.ir.compile import compile_spec

    spec = load_spec(Path(__file__).parents[1] / "canaries" / "specs" / "llama.yaml")
    golden(Path(__file__).parent / "golden" / "llama.program.txt", show(compile_spec(spec)))
