"""Where an ONNX model keeps its external data, read from the bytes alone: no onnx, no protobuf library.

The walk is closed: whatever it does not know, ONNX Runtime might read otherwise, so it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types of protobuf (https://protobuf.dev/programming-guides/encoding); groups, 3 and 4, ONNX never had."""

PARTS: dict[str, dict[str, dict[int, str]]] = {
    "ModelProto": {
        "one": {7: "GraphProto"},
        "many": {20: "TrainingInfoProto", 25: "FunctionProto"},
    },
    "TrainingInfoProto": {"one": {1: "GraphProto", 2: "GraphProto"}, "many": {}},
    "GraphProto": {"one": {}, "many": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"}},
    "FunctionProto": {"one": {}, "many": {7: "NodeProto", 11: "AttributeProto"}},
    "NodeProto": {"one": {}, "many": {5: "AttributeProto"}},
    "AttributeProto": {
        "one": {5: "TensorProto", 6: "GraphProto", 22: "SparseTensorProto"},
        "many": {10: "TensorProto", 11: "GraphProto", 23: "SparseTensorProto"},
    },
    "SparseTensorProto": {"one": {1: "TensorProto", 2: "TensorProto"}, "many": {}},
    "TensorProto": {"one": {}, "many": {13: "StringStringEntryProto"}},
    "StringStringEntryProto": {"one": {}, "many": {}},
}
"""Field numbers of ``onnx/onnx.proto`` (IR version 13) that lead to a tensor, by message: said once, or repeated."""

PLAIN: dict[str, frozenset[int]] = {
    "ModelProto": frozenset({1, 2, 3, 4, 5, 6, 8, 14, 26}),
    "TrainingInfoProto": frozenset({3, 4}),
    "GraphProto": frozenset({2, 10, 11, 12, 13, 14, 16}),
    "FunctionProto": frozenset({1, 4, 5, 6, 8, 9, 10, 12, 13, 14}),
    "NodeProto": frozenset({1, 2, 3, 4, 6, 7, 8, 9, 10}),
    "AttributeProto": frozenset({1, 2, 3, 4, 7, 8, 9, 13, 14, 15, 20, 21}),
    "SparseTensorProto": frozenset({3}),
    "TensorProto": frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16}),
    "StringStringEntryProto": frozenset({1, 2}),
}
"""Field numbers of the same messages that lead to none."""

KEY, VALUE = 1, 2
KEYS = ("location", "offset", "length", "checksum")
"""What an entry of ``TensorProto.external_data`` may say."""

MAX_DEPTH = 100
"""Messages within messages; protobuf's own limit."""
MAX_LENGTH_BYTES, MAX_TAG_BYTES, MAX_VARINT_BYTES = 5, 5, 10
MAX_NUMBER = 2**29 - 1
"""Largest field number of protobuf."""


class Malformed(ValueError):
    """These bytes are no ONNX model, or one with parts that are not known here."""


@dataclass(frozen=True, slots=True)
class External:
    """Where the numbers of one tensor lie."""

    location: str
    offset: int
    length: int | None


def external_data(model: bytes) -> set[External]:
    """Every place outside the file that a serialised ``ModelProto`` names, in any tensor of any part.

    A place counts whether or not its tensor is marked as external.

    Raises:
        Malformed: the bytes cannot be read, or could be read in two ways.
    """
    return set(_walk(memoryview(model), "ModelProto", depth=0))


def _walk(data: memoryview, message: str, *, depth: int) -> Iterator[External]:
    if depth > MAX_DEPTH:
        raise Malformed(f"more than {MAX_DEPTH} messages within each other")
    one, many, plain = PARTS[message]["one"], PARTS[message]["many"], PLAIN[message]
    once: set[int] = set()
    entries: list[memoryview] = []
    for number, value in _fields(data, message):
        if number in once:
            raise Malformed(f"field {number} of {message} is said twice")
        if number in one:
            once.add(number)
        child = one.get(number) or many.get(number)
        if child is None:
            if number not in plain:
                raise Malformed(f"field {number} of {message} is unknown")
        elif not isinstance(value, memoryview):
            raise Malformed(f"field {number} of {message} is no {child}")
        elif child == "StringStringEntryProto":
            entries.append(value)
        else:
            yield from _walk(value, child, depth=depth + 1)
    if entries:
        yield _place(entries)


def _place(entries: list[memoryview]) -> External:
    said: dict[str, str] = {}
    for entry in entries:
        key, value = _entry(entry)
        if key in said or key not in KEYS:
            raise Malformed(f"external data with the key {key!r} {'twice' if key in said else ''}".rstrip())
        said[key] = value
    if "location" not in said:
        raise Malformed("external data without a location")
    length = _count(said["length"]) if "length" in said else None
    return External(said["location"], _count(said.get("offset", "0")), length)


def _entry(data: memoryview) -> tuple[str, str]:
    texts = {KEY: "", VALUE: ""}
    seen: list[int] = []
    for number, value in _fields(data, "StringStringEntryProto"):
        if number not in texts or number in seen or not isinstance(value, memoryview):
            raise Malformed("an entry of external data that is no key with a value")
        seen.append(number)
        try:
            texts[number] = bytes(value).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed("an entry of external data that is no UTF-8") from error
    return texts[KEY], texts[VALUE]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Malformed(f"external data with the place {text[:40]!r}")
    return int(text)


def _fields(data: memoryview, message: str) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message in order: numbers of those with a varint, the bytes of all others."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at, MAX_TAG_BYTES)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number <= MAX_NUMBER:
            raise Malformed(f"field {number} in {message}")
        if wire == VARINT:
            value, at = _varint(data, at, MAX_VARINT_BYTES)
            yield number, value
            continue
        if wire == LENGTH:
            size, at = _varint(data, at, MAX_LENGTH_BYTES)
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise Malformed(f"wire type {wire} in {message}")
        if size > len(data) - at:
            raise Malformed(f"{message} ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int, most: int) -> tuple[int, int]:
    """A number of at most ``most`` bytes in its shortest form, and where it ends."""
    value = 0
    for index in range(min(most, len(data) - at)):
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise Malformed("a number that is longer than it need be")
            return value, at + index + 1
    raise Malformed("a number that does not end")
