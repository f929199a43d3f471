"""Where a model keeps its weights, read from its bytes: as onnx reads it, and against models made to deceive."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import pytest
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper
from onnx.external_data_helper import _get_all_tensors, uses_external_data

from flexit.errors import BundleError
from flexit.ir.io.load import load_spec
from flexit.lower.onnx.model import to_onnx
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.external_data import MAX_DEPTH, PARTS, PLAIN, External, Malformed, external_data
from flexit.runtime.sessions import ort_session
from tests.saved import spoilt

TINY = ("tiny-gpt2", "tiny-bert-classifier", "tiny-t5", "tiny-moe", "tiny-short-conv", "tiny-unet")


KIB = 1024
"""Bytes from which a tensor lies outside the model."""


def as_onnx_reads(model: ModelProto) -> set[External]:
    found: set[External] = set()
    for tensor in _get_all_tensors(model):
        if uses_external_data(tensor):
            said = {entry.key: entry.value for entry in tensor.external_data}
            length = int(said["length"]) if "length" in said else None
            found.add(External(said["location"], int(said.get("offset", 0)), length))
    return found


@pytest.mark.parametrize("preset", TINY)
def test_agrees_with_onnx_on_exported_models(preset: str, tmp_path: Path) -> None:
    module = to_torch(load_spec(preset))
    weights = {name: value.detach().numpy() for name, value in module.named_parameters()}
    for file in to_onnx(module.spec, weights, tmp_path):
        model = onnx.load_model(str(file), load_external_data=False)
        found = external_data(file.read_bytes())
        assert found == as_onnx_reads(model)
        assert len(found) > 5
        assert {place.location for place in found} == {f"{file.name}.data"}
        inside = [len(tensor.raw_data) for tensor in model.graph.initializer if not uses_external_data(tensor)]
        assert max(inside) < KIB <= min(place.length or 0 for place in found)


def messages() -> dict[str, Any]:
    """Every message that a model may hold, by name."""
    found: dict[str, Any] = {}
    queue = [ModelProto.DESCRIPTOR]
    while queue:
        message = queue.pop()
        if message.name not in found:
            found[message.name] = message
            queue += [field.message_type for field in message.fields if field.message_type]
    return found


def test_the_table_of_fields_is_that_of_onnx() -> None:
    known = messages()
    leading = {"StringStringEntryProto", "TensorProto"}
    while more := {
        name for name, message in known.items() if name not in leading
        and any(f.message_type and f.message_type.name in leading - {"StringStringEntryProto"} for f in message.fields)
    }:  # fmt: skip
        leading |= more
    assert set(PARTS) == set(PLAIN) == leading
    for name in leading:
        parts = PARTS[name]["one"] | PARTS[name]["many"]
        for field in known[name].fields:
            child = field.message_type.name if field.message_type else ""
            if child in leading and (child != "StringStringEntryProto" or field.name == "external_data"):
                assert parts[field.number] == child
                assert (field.number in PARTS[name]["many"]) == field.is_repeated
            else:
                assert field.number in PLAIN[name]
        assert len(known[name].fields) == len(parts) + len(PLAIN[name])


# ---- models made to deceive


def tensor(location: str, **more: str) -> TensorProto:
    made = TensorProto(dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL, name="w")
    for key, value in {"location": location, **more}.items():
        made.external_data.add(key=key, value=value)
    return made


def graph(*initializers: TensorProto, nodes: Any = ()) -> GraphProto:
    out = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])
    return helper.make_graph(list(nodes), "g", [], [out], initializer=list(initializers))


def model(of: GraphProto, **more: Any) -> ModelProto:
    return helper.make_model(of, opset_imports=[helper.make_opsetid("", 18)], ir_version=8, **more)


def node(**attributes: Any) -> Any:
    made = helper.make_node("Constant", [], ["c"])
    for name, value in attributes.items():
        made.attribute.append(AttributeProto(name=name, **value))
    return made


def in_initializer(w: TensorProto) -> ModelProto:
    return model(graph(w))


def in_sparse_values(w: TensorProto) -> ModelProto:
    made = model(graph())
    made.graph.sparse_initializer.append(SparseTensorProto(values=w, dims=[1]))
    return made


def in_sparse_indices(w: TensorProto) -> ModelProto:
    made = model(graph())
    made.graph.sparse_initializer.append(SparseTensorProto(indices=w, dims=[1]))
    return made


def in_attribute(w: TensorProto) -> ModelProto:
    return model(graph(nodes=[node(value={"t": w, "type": AttributeProto.TENSOR})]))


def in_tensors(w: TensorProto) -> ModelProto:
    return model(graph(nodes=[node(value={"tensors": [w], "type": AttributeProto.TENSORS})]))


def in_sparse_attribute(w: TensorProto) -> ModelProto:
    sparse = SparseTensorProto(values=w, dims=[1])
    return model(graph(nodes=[node(value={"sparse_tensor": sparse, "type": AttributeProto.SPARSE_TENSOR})]))


def in_sparse_tensors(w: TensorProto) -> ModelProto:
    sparse = SparseTensorProto(values=w, dims=[1])
    return model(graph(nodes=[node(value={"sparse_tensors": [sparse]})]))


def in_subgraph(w: TensorProto) -> ModelProto:
    return model(graph(nodes=[node(then_branch={"g": graph(w), "type": AttributeProto.GRAPH})]))


def in_subgraphs(w: TensorProto) -> ModelProto:
    return model(graph(nodes=[node(bodies={"graphs": [graph(w)], "type": AttributeProto.GRAPHS})]))


def in_attribute_of_subgraph(w: TensorProto) -> ModelProto:
    inner = graph(nodes=[node(value={"t": w, "type": AttributeProto.TENSOR})])
    return model(graph(nodes=[node(body={"g": inner, "type": AttributeProto.GRAPH})]))


def in_function(w: TensorProto) -> ModelProto:
    body = FunctionProto(name="f", domain="d", node=[node(value={"t": w, "type": AttributeProto.TENSOR})])
    return model(graph(), functions=[body])


def in_default_of_function(w: TensorProto) -> ModelProto:
    default = AttributeProto(name="a", t=w, type=AttributeProto.TENSOR)
    return model(graph(), functions=[FunctionProto(name="f", domain="d", attribute_proto=[default])])


def in_training(w: TensorProto) -> ModelProto:
    made = model(graph())
    made.training_info.add().algorithm.CopyFrom(graph(w))
    return made


def in_first_values_of_training(w: TensorProto) -> ModelProto:
    made = model(graph())
    made.training_info.add().initialization.CopyFrom(graph(w))
    return made


def unmarked(w: TensorProto) -> ModelProto:
    w.data_location = TensorProto.DEFAULT
    return model(graph(w))


PLACES = (
    in_initializer, in_sparse_values, in_sparse_indices, in_attribute, in_tensors, in_sparse_attribute,
    in_sparse_tensors, in_subgraph, in_subgraphs, in_attribute_of_subgraph, in_function, in_default_of_function,
    in_training, in_first_values_of_training, unmarked,
)  # fmt: skip


@pytest.fixture
def never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime must not see a byte."""

    def seen(*_: Any, **__: Any) -> None:
        pytest.fail("ONNX Runtime was given the model")

    monkeypatch.setattr(ort_session.ort, "InferenceSession", seen)


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
@pytest.mark.parametrize("location", ["/etc/passwd", "../spec.json", "not-listed.bin"])
def test_refused_wherever_it_hides(
    place: Callable[[TensorProto], ModelProto], location: str, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text("beside the bundle")
    bad = spoilt(bundle, tmp_path / "bad", model__onnx=place(tensor(location)).SerializeToString())
    with pytest.raises(BundleError, match="reads a file that the manifest does not list") as caught:
        open_bundle(bad)
    assert caught.value.code == "FX1403"
    assert caught.value.problems[0].found == location


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize(
    "location",
    [
        "", ".", "..", "./model.onnx.data", "sub/../model.onnx.data", "model.onnx.data/", "MODEL.ONNX.DATA",
        "model.onnx.data\0/../../x", "C:\\x", "..\\x", "file:///etc/passwd", "*/_ORT_MEM_ADDR_/*", "~/x",
        "model.onnx.data ", "manifest.json", "\u202emodel.onnx.data",
    ],
)  # fmt: skip
def test_only_the_very_name_of_a_listed_file_will_do(location: str, bundle: Path, tmp_path: Path) -> None:
    bad = spoilt(bundle, tmp_path / "bad", model__onnx=in_initializer(tensor(location)).SerializeToString())
    with pytest.raises(BundleError) as caught:
        open_bundle(bad)
    assert caught.value.code == "FX1403"


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("to", ["/etc/passwd", "model.onnx", "../elsewhere.bin"])
def test_a_link_is_no_file_of_a_bundle(to: str, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.bin").write_bytes((bundle / "model.onnx.data").read_bytes())
    bad = spoilt(bundle, tmp_path / "bad")
    (bad / "model.onnx.data").unlink()
    (bad / "model.onnx.data").symlink_to(to)
    with pytest.raises(BundleError, match="no regular file") as caught:
        open_bundle(bad)
    assert caught.value.code == "FX1402"


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize(
    "more",
    [{"offset": "99999999"}, {"length": "99999999"}, {"offset": "8", "length": "9999999999999999999"}],
)
def test_beyond_the_end_of_a_file(more: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    evil = in_initializer(tensor("model.onnx.data", **more))
    bad = spoilt(bundle, tmp_path / "bad", model__onnx=evil.SerializeToString())
    with pytest.raises(BundleError, match="beyond the end") as caught:
        open_bundle(bad)
    assert caught.value.code == "FX1403"


# ---- bytes made to deceive


def varint(number: int) -> bytes:
    made = b""
    while number > 0x7F:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(key: str, value: str) -> bytes:
    return field(13, field(1, key.encode()) + field(2, value.encode()))


def holding(content: bytes) -> bytes:
    """A model with one initializer."""
    return field(7, field(5, content))


def deep(levels: int) -> bytes:
    inner = field(5, entry("location", "x"))
    for _ in range(levels):
        inner = field(1, field(5, field(6, inner)))
    return field(7, inner)


HOSTILE = {
    "text": b"this is no model",
    "a pickle": b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix",
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "a length beyond the end": b"\x3a\xff\xff\xff\xff\x07",
    "a length of ten bytes": b"\x3a" + b"\xff" * 9 + b"\x01",
    "a length that wraps": b"\x3a\x80\x80\x80\x80\x20",
    "a length that does not end": b"\x3a" + b"\x80" * 100,
    "a number that does not end": b"\x08" + b"\xff" * 100,
    "a tag that does not end": b"\xba\x80\x80\x80\x80\x80\x00",
    "a tag longer than it need be": b"\xba\x00\x00",
    "a tag beyond 32 bits": b"\xba\x80\x80\x80\x10\x00",
    "field 0": b"\x02\x00",
    "a group": b"\x3b\x3c",
    "an end of a group": b"\x3c",
    "wire type 6": b"\x3e\x00",
    "a cut fixed64": b"\x39\x00\x00",
    "a graph that is a number": b"\x38\x05",
    "an unknown field of the model": field(7, b"") + field(99, b"x"),
    "an unknown field of a tensor": holding(field(15, b"x")),
    "an unknown field of a graph": field(7, field(40, field(13, b"x"))),
    "two graphs": field(7, b"") + field(7, b""),
    "two locations": holding(entry("location", "a") + entry("location", "model.onnx.data")),
    "no location": holding(entry("offset", "0")),
    "an unknown key": holding(entry("location", "a") + entry("prepacked", "1")),
    "a key said twice": holding(field(13, field(1, b"location") + field(1, b"offset") + field(2, b"x"))),
    "a value said twice": holding(field(13, field(1, b"location") + field(2, b"a") + field(2, b"/etc/passwd"))),
    "a value that is a number": holding(field(13, field(1, b"location") + b"\x10\x05")),
    "a third field": holding(field(13, field(1, b"location") + field(2, b"a") + field(3, b"b"))),
    "no UTF-8": holding(field(13, field(1, b"location") + field(2, b"\xff\xfe"))),
    "a negative offset": holding(entry("location", "a") + entry("offset", "-1")),
    "an offset that is no number": holding(entry("location", "a") + entry("offset", "0x10")),
    "an offset in other digits": holding(entry("location", "a") + entry("offset", "\u0661")),
    "an offset of a thousand digits": holding(entry("location", "a") + entry("offset", "9" * 1000)),
    "too deep": deep(MAX_DEPTH),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bytes_that_are_refused(name: str) -> None:
    with pytest.raises(Malformed):
        external_data(HOSTILE[name])


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_bundle_of_such_bytes_is_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    bad = spoilt(bundle, tmp_path / "bad", model__onnx=HOSTILE[name])
    with pytest.raises(BundleError) as caught:
        open_bundle(bad)
    assert caught.value.code == "FX1404"


def test_what_is_merely_deep_is_read() -> None:
    assert external_data(deep(20)) == {External("x", 0, None)}


def damages(data: bytes) -> Iterator[bytes]:
    chance = random.Random(0)
    for _ in range(2000):
        at = chance.randrange(len(data))
        yield data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
    for at in range(len(data)):
        yield data[:at]


def test_no_damage_makes_anything_but_malformed() -> None:
    data = in_attribute_of_subgraph(tensor("w.bin", offset="0", length="4")).SerializeToString()
    refused = 0
    for damaged in damages(data):
        try:
            external_data(damaged)
        except Malformed:
            refused += 1
    assert refused > 500


def test_whatever_onnx_reads_of_damaged_bytes_was_seen_first() -> None:
    """Bytes that pass here and that protobuf takes name no place that was not listed."""
    data = in_attribute_of_subgraph(tensor("w.bin", offset="0", length="4")).SerializeToString()
    taken = 0
    for damaged in damages(data):
        try:
            seen = {place.location for place in external_data(damaged)}
            read = onnx.load_model_from_string(damaged)
        except Exception:
            continue
        taken += 1
        locations = {e.value for t in _get_all_tensors(read) for e in t.external_data if e.key == "location"}
        assert locations <= seen
    assert taken > 100


def test_a_model_without_weights_reads_nothing() -> None:
    empty = onnx_ir.Model(onnx_ir.Graph([], [], nodes=[], name="g"), ir_version=8)
    assert external_data(onnx_ir.to_proto(empty).SerializeToString()) == set()
