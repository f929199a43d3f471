"""Damaged safetensors files and indices, each with its own code; what we take, the library takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from flexit.convert.sources.safetensors import read_safetensors
from flexit.convert.sources.source import open_source
from flexit.errors import SourceError
from tests.convert.sources.made import entry, same, weight_map, write_index, write_raw, write_sharded, write_single
from tests.convert.sources.test_opening import code_of

ONE = json.dumps(entry(0, 4)).encode()

BAD: dict[str, tuple[str, Any, bytes]] = {
    "overlapping": ("FX1812", {"a": entry(0, 4), "b": entry(0, 4)}, b"x" * 4),
    "half overlapping": ("FX1812", {"a": entry(0, 4), "b": entry(2, 6)}, b"x" * 6),
    "a gap": ("FX1812", {"a": entry(0, 4), "b": entry(8, 12)}, b"x" * 12),
    "a gap before the first": ("FX1812", {"a": entry(4, 8)}, b"x" * 8),
    "bytes of no tensor": ("FX1812", {"a": entry(0, 4)}, b"x" * 5),
    "bytes and no tensor": ("FX1812", {}, b"x"),
    "an empty one elsewhere": ("FX1812", {"a": entry(0, 4), "b": entry(2, 2, (0,))}, b"x" * 4),
    "too small": ("FX1813", {"a": entry(0, 4, (2,))}, b"x" * 4),
    "too large": ("FX1813", {"a": entry(0, 8, (1,))}, b"x" * 8),
    "backwards": ("FX1813", {"a": entry(4, 0)}, b"x" * 4),
    "enormous": ("FX1813", {"a": entry(0, 4, (2**29, 2**29))}, b"x" * 4),
    "beyond the end": ("FX1810", {"a": entry(0, 4), "b": entry(4, 8)}, b"x" * 7),
    "no bytes": ("FX1810", {"a": entry(0, 4)}, b""),
    "an unknown format": ("FX1814", {"a": entry(0, 4, dtype="F33")}, b"x" * 4),
    "a format of half bytes": ("FX1814", {"a": entry(0, 4, dtype="F4")}, b"x" * 4),
    "overflowing": ("FX1811", {"a": entry(0, 4, (2**40, 2**40))}, b"x" * 4),
    "overflowing beside a zero": ("FX1811", {"a": entry(0, 0, (0, 2**40, 2**40))}, b""),
    "rank 65": ("FX1811", {"a": entry(0, 4, (1,) * 65)}, b"x" * 4),
    "a negative length": ("FX1811", {"a": entry(0, 4, (-1,))}, b"x" * 4),
    "a truth value as length": ("FX1811", {"a": entry(0, 4, [True])}, b"x" * 4),
    "a fraction": ("FX1811", {"a": entry(0, 4, [1.0])}, b"x" * 4),
    "no shape": ("FX1811", {"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"x" * 4),
    "three offsets": ("FX1811", {"a": {**entry(0, 4), "data_offsets": [0, 2, 4]}}, b"x" * 4),
    "a format that is no text": ("FX1811", {"a": entry(0, 4, dtype=["F32"])}, b"x" * 4),
    "no object": ("FX1811", {"a": 5}, b""),
    "metadata of numbers": ("FX1811", {"__metadata__": {"a": 1}}, b""),
    "metadata of no kind": ("FX1811", {"__metadata__": 3}, b""),
    "a list": ("FX1811", b"[]", b""),
    "no JSON": ("FX1811", b"{", b""),
    "nothing": ("FX1811", b"", b""),
    "a tensor twice": ("FX1811", b'{"a":' + ONE + b',"a":' + ONE + b"}", b"x" * 4),
    "nested": ("FX1811", b'{"a":' * 100_000, b""),
    "no UTF-8": ("FX1811", b'{"\xff":' + ONE + b"}", b"x" * 4),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(tmp_path: Path, case: str) -> None:
    code, header, data = BAD[case]
    write_single(tmp_path)
    write_raw(tmp_path / "model.safetensors", header, data)
    assert code_of(tmp_path) == code


@pytest.mark.parametrize(("length", "code"), [(100_000_001, "FX1811"), (2**64 - 1, "FX1811"), (50_000, "FX1810")])
def test_headers_that_lie(tmp_path: Path, length: int, code: str) -> None:
    write_single(tmp_path)
    write_raw(tmp_path / "model.safetensors", {"a": entry(0, 4)}, b"x" * 4, length=length)
    assert code_of(tmp_path) == code


def test_a_header_that_is_really_too_large(tmp_path: Path) -> None:
    write_single(tmp_path)
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((2**32).to_bytes(8, "little"))
        file.truncate(2**33)
    assert code_of(tmp_path) == "FX1811"


def test_truncated_anywhere(tmp_path: Path) -> None:
    write_single(tmp_path)
    file = tmp_path / "model.safetensors"
    whole = file.read_bytes()
    for size in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert code_of(tmp_path) == "FX1810"


GOOD: dict[str, tuple[Any, bytes]] = {
    "nothing in it": ({}, b""),
    "metadata alone": ({"__metadata__": {"format": "pt"}}, b""),
    "another order": ({"b": entry(4, 8), "a": entry(0, 4)}, b"x" * 8),
    "empty ones between": ({"a": entry(4, 4, (0,)), "b": entry(0, 4), "c": entry(0, 0, (0, 3))}, b"x" * 4),
    "an odd place": ({"a": entry(0, 1, (1,), "U8"), "b": entry(1, 9, (2,))}, b"x" * 9),
    "one more key": ({"a": {**entry(0, 4), "note": 1}}, b"x" * 4),
    "spaces around": (b" " * 5 + json.dumps({"a": entry(0, 4)}).encode() + b" " * 7, b"x" * 4),
}


@pytest.mark.parametrize("case", GOOD)
def test_as_the_library_reads_it(tmp_path: Path, case: str) -> None:
    write_raw(tmp_path / "x.safetensors", *GOOD[case])
    ours = read_safetensors(tmp_path, "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "np") as theirs:
        assert set(ours) == set(theirs.keys())
        assert all(same(ours[name].numpy(), theirs.get_tensor(name)) for name in theirs.keys())  # noqa: SIM118
    assert all(tensor.numpy().shape == tensor.shape for tensor in ours.values())
    assert all(tensor.torch().shape == tensor.shape for tensor in ours.values())


def test_what_the_library_refuses_is_refused(tmp_path: Path) -> None:
    """All cases above but those in which it takes the last of two tensors of one name, or what no array can be."""
    more = {"a tensor twice", "rank 65", "overflowing beside a zero"}
    for case, (_, header, data) in BAD.items():
        write_raw(tmp_path / "x.safetensors", header, data)
        with pytest.raises(SourceError):
            read_safetensors(tmp_path, "x.safetensors")
        if case not in more:
            with pytest.raises(SafetensorError), safe_open(tmp_path / "x.safetensors", "np"):
                pass


def test_truth_values_of_any_byte(tmp_path: Path) -> None:
    write_raw(tmp_path / "x.safetensors", {"a": entry(0, 3, (3,), "BOOL")}, b"\x00\x01\x02")
    assert read_safetensors(tmp_path, "x.safetensors")["a"].numpy().tobytes() == b"\x00\x01\x01"


def test_nothing_is_copied(tmp_path: Path) -> None:
    save_file({"a": np.zeros(4, np.float32)}, tmp_path / "x.safetensors")
    tensor = read_safetensors(tmp_path, "x.safetensors")["a"]
    assert np.shares_memory(tensor.numpy(), tensor.numpy())
    assert not tensor.numpy().flags.writeable


def test_index_of_a_missing_shard(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    assert code_of(tmp_path) == "FX1816"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\b", ".hidden", "a\0b",
                                  "a\n.safetensors"])  # fmt: skip
def test_index_of_files_outside(tmp_path: Path, name: str) -> None:
    write_sharded(tmp_path / "model")
    files = weight_map(tmp_path / "model")
    (tmp_path / "model" / files["model.half"]).rename(tmp_path / "x")
    write_index(tmp_path / "model", {**files, "model.half": name})
    assert code_of(tmp_path / "model") == "FX1805"


@pytest.mark.parametrize("files", [None, {}, [], "x", {"a": 1}, {"a": None}])
def test_index_that_is_none(tmp_path: Path, files: Any) -> None:
    write_sharded(tmp_path)
    write_index(tmp_path, files)
    assert code_of(tmp_path) == "FX1815"


def test_index_that_is_no_json(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    assert code_of(tmp_path) == "FX1803"


def test_index_and_shards_that_disagree(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    files = weight_map(tmp_path)
    names = list(files)
    others = {
        "more in the index": {**files, "model.more": files[names[0]]},
        "less in the index": {name: file for name, file in files.items() if name != names[0]},
        "in another file": {**files, names[0]: files[names[1]]},
    }
    for changed in others.values():
        write_index(tmp_path, changed)
        assert code_of(tmp_path) == "FX1817"
    write_index(tmp_path, files)
    assert set(open_source(tmp_path).tensors) == set(files)


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    made = write_sharded(tmp_path)
    part = {name: made[name] for name in ("model.embed.weight", "model.norm.weight", "model.flags", "model.bytes")}
    save_file(part, tmp_path / "model-00001-of-00003.safetensors")
    assert code_of(tmp_path) == "FX1818"


def test_a_damaged_shard(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    file = tmp_path / "model-00003-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert code_of(tmp_path) == "FX1810"


def test_messages_are_short_whatever_the_names(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    write_index(tmp_path, {f"{'n' * 10_000}{at}": "model-00001-of-00003.safetensors" for at in range(500)})
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path)
    assert len(str(caught.value)) < 2000
