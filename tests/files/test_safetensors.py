"""Files of tensors are the library's, byte by byte, written one tensor at a time, whole or not at all."""

from __future__ import annotations

import gc
import json
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from flexit.errors import FlexitError, ResourceError
from flexit.files import safetensors
from flexit.files.safetensors import DTYPES, write_safetensors, write_sharded

NAMES = {dtype: name for name, dtype in DTYPES.items()}
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Given:
    """A tensor as the writer wants it."""

    shape: tuple[int, ...]
    dtype: str
    numpy: Callable[[], Array]


def given(array: Array) -> Given:
    return Given(array.shape, NAMES[array.dtype], lambda: array)


def all_formats() -> dict[str, Array]:
    rng = np.random.default_rng(1)
    arrays = {f"t.{name}": rng.integers(0, 2, (3, 2)).astype(dtype) for name, dtype in DTYPES.items()}
    special = {
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), np.float16),
        '\u00fc "quoted"\n\x01\x7f\U0001f600': np.ones(1),
    }
    return arrays | special


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {}])
@pytest.mark.parametrize("pieces", [1, 5, 16 * 2**20])
def test_the_bytes_are_the_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metadata: Any, pieces: int
) -> None:
    monkeypatch.setattr(safetensors, "_PIECE", pieces)
    arrays = all_formats()
    write_safetensors(tmp_path / "ours", {name: given(array) for name, array in arrays.items()}, metadata=metadata)
    save_file(arrays, tmp_path / "theirs", metadata=metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_nothing_is_a_file_too(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x", {})
    assert load_file(tmp_path / "x") == {}


@pytest.mark.parametrize("change", [lambda a: a.T, lambda a: a[::2], lambda a: a[:, ::-1], lambda a: a[1:2, 1:2]])
def test_views_are_written_in_order(tmp_path: Path, change: Callable[[Array], Array]) -> None:
    array = change(np.arange(12, dtype=np.float32).reshape(4, 3))
    write_safetensors(tmp_path / "x", {"a": given(array)})
    assert (load_file(tmp_path / "x")["a"] == array).all()


def test_progress_counts_every_byte_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safetensors, "_PIECE", 8)
    tensors = {name: given(np.zeros((3, 2), np.float32)) for name in "abc"}
    seen: list[tuple[int, int]] = []
    write_safetensors(tmp_path / "x", tensors, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(at * 8, 72) for at in range(1, 10)]
    seen.clear()
    write_sharded(tmp_path, tensors, max_bytes=24, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(at * 8, 72) for at in range(1, 10)]


@pytest.mark.slow
def test_one_tensor_is_held_at_a_time(tmp_path: Path) -> None:
    living: list[weakref.ref[Array]] = []
    most = 0

    def read() -> Array:
        nonlocal most
        array = np.zeros(4, np.float32)
        living.append(weakref.ref(array))
        gc.collect()
        most = max(most, sum(one() is not None for one in living))
        return array

    tensors = {str(at): Given((4,), "F32", read) for at in range(5)}
    write_safetensors(tmp_path / "x", tensors)
    assert (most, len(living)) == (1, 5)


@pytest.mark.parametrize("wrong", [np.zeros(3, np.float32), np.zeros((2, 1), np.float32), np.zeros(2, np.float16)])
def test_a_tensor_that_is_not_what_it_said(tmp_path: Path, wrong: Array) -> None:
    with pytest.raises(FlexitError, match="was to be F32"):
        write_safetensors(tmp_path / "x", {"a": Given((2,), "F32", lambda: wrong)})
    assert not list(tmp_path.iterdir())


def test_what_was_there_is_whole_until_it_is_replaced(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x", {"a": given(np.ones(2))})

    def interrupted() -> Array:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_safetensors(tmp_path / "x", {"a": given(np.zeros(2)), "b": Given((2,), "F32", interrupted)})
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert load_file(tmp_path / "x")["a"].tolist() == [1, 1]


def test_a_file_may_be_written_from_itself(tmp_path: Path) -> None:
    from flexit.convert.sources.safetensors import read_safetensors

    write_safetensors(tmp_path / "x", {"a": given(np.arange(5)), "b": given(np.arange(4.0))})
    before = (tmp_path / "x").read_bytes()
    write_safetensors(tmp_path / "x", read_safetensors(tmp_path, "x"))
    assert (tmp_path / "x").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tmp").symlink_to("/dev/full")
    with pytest.raises(ResourceError) as caught:
        write_safetensors(tmp_path / "x", {"a": given(np.zeros(4))})
    assert caught.value.code == "FX1304"
    assert not list(tmp_path.iterdir())


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), sync(handle))[1])
    monkeypatch.setattr(Path, "replace", lambda path, to: (calls.append("replace"), replace(path, to))[1])
    write_safetensors(tmp_path / "x", {"a": given(np.zeros(4))})
    assert calls == ["fsync", "replace", "fsync"]


def test_shards_hold_everything_once(tmp_path: Path) -> None:
    arrays = {f"layer.{at}": np.full(at % 4 + 1, at, ml_dtypes.bfloat16) for at in range(20)}
    arrays["large"] = np.ones(100, np.float32)
    arrays["after"] = np.ones(1, np.float32)
    files = write_sharded(
        tmp_path, {name: given(array) for name, array in arrays.items()}, max_bytes=20, metadata={"format": "pt"}
    )
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": sum(array.nbytes for array in arrays.values())}
    assert list(index["weight_map"]) == list(arrays)
    assert sorted({*index["weight_map"].values()}) == files
    for file in files:
        with safe_open(tmp_path / file, "np") as opened:
            assert opened.metadata() == {"format": "pt"}
            names = list(opened.keys())
            assert {index["weight_map"][name] for name in names} == {file}
            assert names == ["large"] or sum(arrays[name].nbytes for name in names) <= 20
            assert all(opened.get_tensor(name).tobytes() == arrays[name].tobytes() for name in names)


def test_what_fits_into_one_file_is_one(tmp_path: Path) -> None:
    assert write_sharded(tmp_path, {"a": given(np.zeros(4))}) == ["model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_shards_are_read_in_their_order(tmp_path: Path) -> None:
    from flexit.convert.sources.weights import read_weights

    arrays = {f"{at}": np.full(3, at, np.float32) for at in range(9)}
    write_sharded(tmp_path, {name: given(array) for name, array in arrays.items()}, max_bytes=30)
    read = read_weights(tmp_path)
    assert list(read) == list(arrays)
    assert all((read[name].numpy() == array).all() for name, array in arrays.items())
