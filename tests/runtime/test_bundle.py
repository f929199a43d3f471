"""Bundles from anyone: opened when sound, else refused with a code, whatever is in the folder."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexit.errors import BundleError
from flexit.runtime.bundles.bundle import open_bundle, read_bundle
from flexit.runtime.bundles.manifest import MANIFEST
from flexit.runtime.bundles.verify import verify
from tests.saved import spoilt


def code_of(folder: Path) -> str:
    """The code with which every way to open a folder refuses it."""
    codes: set[str] = set()
    for opened in (read_bundle, open_bundle, verify):
        with pytest.raises(BundleError) as caught:
            opened(folder)
        problem = caught.value.problems[0]
        assert all((problem.message, problem.expected, problem.found, problem.cure))
        codes.add(problem.code)
    assert len(codes) == 1
    return codes.pop()


def test_a_sound_one_is_opened(bundle: Path) -> None:
    session = open_bundle(bundle)
    scores = session.start({"input_ids": np.array([[1, 2, 3]])})
    assert scores.shape == (1, 260)
    assert verify(bundle).holds


def test_its_files_can_be_read_by_whoever_serves_it(bundle: Path) -> None:
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in bundle.iterdir()}
    assert len(set(modes.values())) == 1, modes


# ---- manifests


def text(value: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / MANIFEST).write_bytes(value) and None


def linked(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.with_name("elsewhere.json"))
    (folder / MANIFEST).symlink_to(folder.with_name("elsewhere.json"))


def a_folder(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()


def a_pipe(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)


BROKEN: dict[str, Callable[[Path], None]] = {
    "missing": lambda folder: (folder / MANIFEST).unlink(),
    "empty": text(b""),
    "no JSON": text(b"{"),
    "binary": text(bytes(range(256))),
    "UTF-16": text('{"format": 1}'.encode("utf-16")),
    "null": text(b"null"),
    "a list": text(b"[]"),
    "a number": text(b"1"),
    "a text": text(b'"manifest"'),
    "an empty object": text(b"{}"),
    "another format": text(b'{"format": 2}'),
    "a true format": text(b'{"format": true}'),
    "only a format": text(b'{"format": 1}'),
    "NaN": text(b'{"format": 1, "name": NaN}'),
    "a key twice": text(b'{"format": 1, "format": 1}'),
    "a number of 5000 digits": text(b'{"format": ' + b"1" * 5000 + b"}"),
    "ten million brackets": text(b"[" * 10_000_000),
    "ten million braces": text(b'{"a":' * 2_000_000),
    "too large": text(b'{"format": 1, "name": "' + b"x" * 20_000_000 + b'"}'),
    "a link": linked,
    "a folder": a_folder,
    "a pipe": a_pipe,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_manifest(name: str, bundle: Path, tmp_path: Path) -> None:
    bad = spoilt(bundle, tmp_path / "bad")
    BROKEN[name](bad)
    assert code_of(bad) == "FX1401"


JUNK: tuple[Any, ...] = (None, True, -1, 1.5, 10**400, "\ud800", "x" * 100_000, [], [[]], {}, {"": None}, [{"a": {}}])


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a tree, of lists the first entry alone."""
    if path:
        yield path
    for key in data if isinstance(data, dict) else range(min(1, len(data))) if isinstance(data, list) else ():
        yield from places(data[key], (*path, key))


def changed(data: Any, path: tuple[Any, ...], value: Any, *, drop: bool = False) -> Any:
    made = copy.deepcopy(data)
    at = made
    for key in path[:-1]:
        at = at[key]
    if drop:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


def outcome(folder: Path) -> str:
    """The code of the refusal, or ``opened``; any other exception is a failure of the test."""
    try:
        read_bundle(folder)
    except BundleError as error:
        return error.code
    return "opened"


def test_any_value_may_be_of_any_type(bundle: Path, tmp_path: Path) -> None:
    folder = spoilt(bundle, tmp_path / "bad")
    data = json.loads((bundle / MANIFEST).read_text())
    read = {"format", "models", "interface", "files", "evidence", "name", "flexit"}
    for path in places(data):
        for junk in JUNK:
            (folder / MANIFEST).write_text(json.dumps(changed(data, path, junk)))
            assert outcome(folder) in {"FX1401", "FX1402", "FX1403", "opened"}
        if len(path) == 1 and path[0] in read:
            (folder / MANIFEST).write_text(json.dumps(changed(data, path, [[]])))
            assert outcome(folder) == "FX1401", path


def test_every_field_that_is_read_must_be_there(bundle: Path, tmp_path: Path) -> None:
    folder = spoilt(bundle, tmp_path / "bad")
    data = json.loads((bundle / MANIFEST).read_text())
    needed: set[str] = set()
    for path in places(data):
        (folder / MANIFEST).write_text(json.dumps(changed(data, path, None, drop=True)))
        if outcome(folder) != "opened":
            needed.add(".".join(map(str, path)))
    assert {"files", "models", "target", "interface.inputs.0.role", "evidence.tolerance"} <= needed
    assert "versions" not in needed


@pytest.mark.parametrize(
    "edited",
    [
        {"target": "ort"}, {"target": "Portable"}, {"target": None}, {"target": ["portable"]},
        {"versions": None}, {"versions": "1.0"}, {"versions": {"torch": 2}}, {"versions": [["torch", "2.6"]]},
    ],
    ids=str,
)  # fmt: skip
def test_target_and_versions_are_what_they_are_said_to_be(edited: dict[str, Any], bundle: Path, tmp_path: Path) -> None:
    assert code_of(spoilt(bundle, tmp_path / "bad", manifest=edited)) == "FX1401"


def test_versions_are_for_people(bundle: Path, tmp_path: Path) -> None:
    kept = spoilt(bundle, tmp_path / "kept", manifest={"versions": {"a fork of torch": "yesterday's"}})
    assert read_bundle(kept).manifest["versions"] == {"a fork of torch": "yesterday's"}


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt", "/etc/passwd", "..", ".", "", "sub/file", "sub\\file", "C:file", ".hidden", "a\0b", "a\nb",
        "\u202etxt.gpj", "\ud800", "~", "-rf", "x" * 300, "[/x]", "\x1b[31mred",
    ],
)  # fmt: skip
def test_files_are_bare_names(name: str, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("mine")
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    digest = hashlib.sha256(b"mine").hexdigest()
    bad = spoilt(bundle, tmp_path / "bad", manifest={"files": {**files, name: digest}})
    assert code_of(bad) == "FX1403"


@pytest.mark.parametrize("name", ["model.ort", "../model.onnx", "spec.json", "absent.onnx"])
def test_models_are_listed_files_that_end_in_onnx(name: str, bundle: Path, tmp_path: Path) -> None:
    bad = spoilt(bundle, tmp_path / "bad", manifest={"models": {name: {"states": []}}})
    assert code_of(bad) == ("FX1401" if name == "absent.onnx" else "FX1403")


# ---- files


def replaced(folder: Path) -> None:
    (folder / "spec.json").write_text("{}")


def cut(folder: Path) -> None:
    file = folder / "model.onnx.data"
    file.write_bytes(file.read_bytes()[:-1])


def socket_at(folder: Path) -> None:
    (folder / "spec.json").unlink()
    here = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("spec.json")
    finally:
        os.chdir(here)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a file changed": replaced,
    "a file cut": cut,
    "a file missing": lambda folder: (folder / "model.onnx.data").unlink(),
    "a file too many": lambda folder: (folder / "more.bin").write_bytes(b"x"),
    "a folder too many": lambda folder: (folder / "more").mkdir(),
    "a hidden file too many": lambda folder: (folder / ".more").write_bytes(b"x"),
    "a file that is a folder": lambda folder: ((folder / "spec.json").unlink(), (folder / "spec.json").mkdir()),
    "a file that is a socket": socket_at,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_files_that_do_not_fit(name: str, bundle: Path, tmp_path: Path) -> None:
    bad = spoilt(bundle, tmp_path / "bad")
    DAMAGE[name](bad)
    assert code_of(bad) == "FX1402"


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "nothing", tmp_path / "file", tmp_path, Path("/dev/null"), Path("x" * 500)):
        assert code_of(place) == "FX1401"


# ---- sound hashes, unsound content


def refused_by(opened: Callable[[Path], Any], folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        opened(folder)
    return caught.value.code


def test_a_model_that_runs_nothing(bundle: Path, tmp_path: Path) -> None:
    assert refused_by(open_bundle, spoilt(bundle, tmp_path / "bad", model__onnx=b"")) == "FX1404"


def test_states_and_outputs_are_those_of_the_model(bundle: Path, tmp_path: Path) -> None:
    states = [{"path": "x", "input": "past_key_values.0.key", "output": "no.such"}]
    bad = spoilt(bundle, tmp_path / "states", manifest={"models": {"model.onnx": {"states": states}}})
    assert refused_by(open_bundle, bad) == "FX1404"
    interface = json.loads((bundle / MANIFEST).read_text())["interface"] | {"outputs": ["scores"]}
    bad = spoilt(bundle, tmp_path / "out", manifest={"interface": interface})
    assert refused_by(open_bundle, bad) == "FX1404"


def test_the_probe_is_one_of_the_model(bundle: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save

    ids, logits = np.ones((1, 2), np.int64), np.ones((1, 2, 260), np.float32)
    probes = {
        "bytes": b"no arrays",
        "empty": save({"other": ids}),
        "shape": save({"input.input_ids": ids, "output.logits": logits[:, :1].copy()}),
        "ids": save({"input.input_ids": ids + 10_000, "output.logits": logits}),
        "kind": save({"input.input_ids": logits, "output.logits": logits}),
        "strange": save({"input.strange": ids, "output.logits": logits}),
        "flags": save({"input.input_ids": ids, "output.logits": logits, "valid.logits": ids[:, :1] > 0}),
        "flag": save({"input.input_ids": ids, "output.logits": logits, "valid.other": ids > 0}),
    }
    for name, content in probes.items():
        bad = spoilt(bundle, tmp_path / name, probe__safetensors=content)
        assert refused_by(verify, bad) == "FX1402", name
    bad = spoilt(bundle, tmp_path / "gone")
    data = json.loads((bad / MANIFEST).read_text())
    (bad / "probe.safetensors").unlink()
    del data["files"]["probe.safetensors"]
    (bad / MANIFEST).write_text(json.dumps(data))
    assert refused_by(verify, bad) == "FX1402"


def test_other_numbers_do_not_hold(bundle: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load, save

    arrays = load((bundle / "probe.safetensors").read_bytes())
    arrays["output.logits"] = arrays["output.logits"] * 1.01
    assert not verify(spoilt(bundle, tmp_path / "bad", probe__safetensors=save(arrays))).holds


def test_a_bundle_whose_writer_was_killed_is_put_back(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "out.old")
    dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "started": 1.0, "swapping": True}
    (tmp_path / "out.lock").write_text(json.dumps(dead))
    assert verify(tmp_path / "out").holds
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_is_no_bundle_is_refused_in_one_message(tmp_path):
    with pytest.raises(BundleError) as caught:
        open_bundle(tmp_path / "nothing")
    (problem,) = caught.value.problems
    assert (problem.code, problem.found) == ("FX1401", "nothing of this name")
