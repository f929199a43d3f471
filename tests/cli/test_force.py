"""--force replaces a bundle, and nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flexit.cli.app import run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run([str(argument) for argument in arguments]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told[told.index("FX") :].partition(" ")[0].rstrip(":")


def photos(folder: Path, bundle: Path) -> Path:
    del bundle
    (folder / "photos").mkdir()
    (folder / "photos" / "one.jpg").write_bytes(b"mine")
    return folder / "photos"


def another_manifest(folder: Path, bundle: Path) -> Path:
    """A web application, which has a manifest.json as well."""
    del bundle
    (folder / "web").mkdir()
    (folder / "web" / "manifest.json").write_text('{"name": "an application", "icons": []}')
    return folder / "web"


def checkpoint_of_ours(folder: Path, bundle: Path) -> Path:
    """A folder of ours, but no bundle."""
    del bundle
    (folder / "step-000001" / "training").mkdir(parents=True)
    (folder / "step-000001" / "training" / "state.json").write_text('{"flexit": "0.1.0"}')
    return folder / "step-000001"


def link_to_a_bundle(folder: Path, bundle: Path) -> Path:
    shutil.copytree(bundle, folder / "real")
    (folder / "link").symlink_to(folder / "real")
    return folder / "link"


def linked_manifest(folder: Path, bundle: Path) -> Path:
    shutil.copytree(bundle, folder / "half")
    (folder / "half" / "manifest.json").rename(folder / "manifest.json")
    (folder / "half" / "manifest.json").symlink_to(folder / "manifest.json")
    return folder / "half"


def a_file(folder: Path, bundle: Path) -> Path:
    del bundle
    (folder / "file").write_text("mine")
    return folder / "file"


def bundle_with_notes(folder: Path, bundle: Path) -> Path:
    shutil.copytree(bundle, folder / "noted")
    (folder / "noted" / "notes.txt").write_text("mine")
    return folder / "noted"


def bundle_with_a_folder(folder: Path, bundle: Path) -> Path:
    shutil.copytree(bundle, folder / "filled")
    (folder / "filled" / "sub").mkdir()
    (folder / "filled" / "sub" / "mine").write_text("mine")
    return folder / "filled"


def copied_manifest(folder: Path, bundle: Path) -> Path:
    (folder / "project").mkdir()
    (folder / "project" / "precious").write_text("mine")
    shutil.copyfile(bundle / "manifest.json", folder / "project" / "manifest.json")
    return folder / "project"


PLACES = (
    photos, another_manifest, checkpoint_of_ours, link_to_a_bundle, linked_manifest, a_file, bundle_with_notes,
    bundle_with_a_folder, copied_manifest,
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_what_export_never_replaces(
    place: Callable[[Path, Path], Path], bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = place(tmp_path, bundle)
    before = contents(tmp_path)
    assert refused(capsys, "export", "tiny-llama", target, "--force") == "FX1302"
    assert contents(tmp_path) == before


@pytest.mark.parametrize("where", [".", "..", "/", "~", "~/.."])
def test_here_home_and_root(
    where: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even where they look like bundles."""
    for name in ("here/below", "house/home"):
        shutil.copytree(bundle, tmp_path / name)
    shutil.copyfile(bundle / "manifest.json", tmp_path / "here" / "manifest.json")
    shutil.copyfile(bundle / "manifest.json", tmp_path / "house" / "manifest.json")
    monkeypatch.chdir(tmp_path / "here" / "below")
    monkeypatch.setenv("HOME", str(tmp_path / "house" / "home"))
    before = contents(tmp_path)
    assert refused(capsys, "export", "tiny-llama", Path(where).expanduser(), "--force") == "FX1302"
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["out.lock", "out.old", "out.old/mine"])
def test_what_export_never_touches_beside_its_target(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    assert refused(capsys, "export", "tiny-llama", tmp_path / "out") == "FX1305"
    assert contents(tmp_path) == before


@pytest.mark.ort
def test_a_bundle_is_replaced_only_with_force(
    bundle: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(bundle, tmp_path / "out")
    before = contents(tmp_path)
    assert refused(capsys, "export", checkpoint, tmp_path / "out") == "FX1301"
    assert contents(tmp_path) == before
    assert run(["export", str(checkpoint), str(tmp_path / "out"), "--force", "--seed", "1"]) == 0
    assert contents(tmp_path) != before
    assert os.listdir(tmp_path) == ["out"]


def test_new_follows_no_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "mine")
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    for name in ("link.yaml", "dangling.yaml"):
        assert refused(capsys, "new", "tiny-llama", tmp_path / name, "--force") == "FX1302"
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
    assert refused(capsys, "new", "tiny-llama", tmp_path / "mine") == "FX1301"
    assert run(["new", "tiny-llama", str(tmp_path / "mine"), "--force"]) == 0
