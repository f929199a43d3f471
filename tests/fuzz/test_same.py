"""YAML, JSON, the Python builder and the canonical form say the same, in whatever order keys stand."""

import json
import random

import pytest

from flexit.ir.builder import EachLayer, Graph, Ref
from flexit.ir.io.canonical import canonical, program_hash, spec_hash
from flexit.ir.io.load import parse_spec
from flexit.ir.language.template import as_written
from flexit.ir.spec import Spec
from tests.fuzz.sample import FEW, MANY, accepted, as_yaml, checked, drawn, shown


def built(data):
    """A document by way of the builder."""
    graph = Graph(data["name"], description=data.get("description"), init=data.get("init"))
    for name, declared in data.get("inputs", {}).items():
        fields = {"kind": declared} if isinstance(declared, str) else declared
        graph.input(name, **fields)
    for name, block in data["blocks"].items():
        fields = {"kind": block} if isinstance(block, str) else dict(block)
        kind, wired = fields.pop("kind"), fields.pop("from", None)
        edges = [
            Ref(edge) for edge in ([wired] if isinstance(wired, str) else wired or []) if not isinstance(wired, dict)
        ]
        ports = {port: reference(edge) for port, edge in wired.items()} if isinstance(wired, dict) else {}
        graph.block(kind, *edges, name=name, **{f"{key}_": value for key, value in fields.items()}, **ports)
    for name, edge in data.get("outputs", {}).items():
        graph.output(name, Ref(edge))
    return graph.spec()


def reference(edge):
    return EachLayer(edge["each"], edge.get("order", "same")) if isinstance(edge, dict) else Ref(edge)


def buildable(data):
    """Lists of edges at a port by name are positional in the builder."""
    blocks = [block for block in data["blocks"].values() if isinstance(block, dict)]
    return not any(
        isinstance(edge, list)
        for block in blocks
        if isinstance(block.get("from"), dict)
        for edge in block["from"].values()
    )


def shuffled(value, rng, *, chains=False):
    """The same canonical document with its keys in another order; the last block of a composite stays the last."""
    if isinstance(value, list):
        return [shuffled(entry, rng, chains=chains) for entry in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    rng.shuffle(keys)
    mixed = {key: shuffled(value[key], rng, chains=chains or key == "variants") for key in keys}
    if isinstance(value.get("blocks"), dict) and "kind" in value and value["blocks"]:
        names = list(value["blocks"])
        order = names if chains else [*rng.sample(names[:-1], len(names) - 1), names[-1]]
        mixed["blocks"] = {name: mixed["blocks"][name] for name in order}
    return mixed


def agree(seed):
    data, spec = drawn(seed), checked(seed).spec
    known = (spec_hash(spec), program_hash(spec))
    forms = {
        "yaml": lambda: parse_spec(as_yaml(data)),
        "json": lambda: parse_spec(json.dumps(data)),
        "to_yaml": lambda: parse_spec(spec.to_yaml()),
        "to_json": lambda: parse_spec(spec.to_json()),
        "another order": lambda: parse_spec(json.dumps(shuffled(canonical(spec), random.Random(seed)))),
        "objects": lambda: Spec.model_validate(as_written(spec)),
    }
    if buildable(data):
        forms["builder"] = lambda: built(data)
    for name, make in forms.items():
        try:
            again = make()
        except Exception as error:
            pytest.fail(shown(seed, data, f"{name}: {type(error).__name__} {error}"), pytrace=False)
        hashes = (spec_hash(again), program_hash(again))
        assert hashes == known, shown(seed, data, f"{name} has other hashes")
        if name in ("yaml", "json", "to_yaml", "objects", "builder"):
            assert again == spec, shown(seed, data, f"{name} is another spec")
    assert canonical(parse_spec(spec.to_json())) == canonical(spec), shown(
        seed, data, "the canonical form is not stable"
    )


@pytest.mark.slow
def test_some_documents_are_the_same_in_every_form():
    for seed in accepted(FEW[:25]):
        agree(seed)


@pytest.mark.slow
def test_many_documents_are_the_same_in_every_form():
    for seed in accepted(MANY[: len(MANY) // 10]):
        agree(seed)


def test_different_documents_have_different_hashes():
    specs = [checked(seed).spec for seed in accepted(FEW)]
    texts = {json.dumps(canonical(spec), sort_keys=True) for spec in specs}
    assert len({spec_hash(spec) for spec in specs}) == len(texts)
