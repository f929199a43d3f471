"""Files of a folder by name, in folders below it too, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flexit.convert.sources.inside import has_file, open_file, read_file
from flexit.convert.sources.json import read_json
from flexit.errors import SourceError
from tests.convert.sources.made import write_single
from tests.convert.sources.test_opening import hub_cache


def code_of(folder: Path, name: str) -> str:
    with pytest.raises(SourceError) as caught:
        read_file(folder, name, max_bytes=10)
    return caught.value.code


def test_in_folders_below(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"a": 1}')
    assert has_file(tmp_path, "1_Pooling/config.json")
    assert read_json(tmp_path, "1_Pooling/config.json") == {"a": 1}
    with open_file(tmp_path, "./1_Pooling//config.json") as stream:
        assert stream.read() == b'{"a": 1}'


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "", ".", "..", "a\0b", "a\\b"])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "in" / "a").mkdir(parents=True)
    assert code_of(tmp_path / "in", name) == "FX1805"


def test_folders_that_are_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("")
    (tmp_path / "link").symlink_to("real")
    assert read_file(tmp_path, "real/x", max_bytes=10) == b""
    assert code_of(tmp_path, "link/x") == "FX1805"


def test_links_of_a_hub_cache_in_folders_below(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    blobs = tmp_path / "models--org--name" / "blobs"
    (blobs / "f").write_text('{"b": 2}')
    (snapshot / "1_Pooling").mkdir()
    (snapshot / "1_Pooling" / "config.json").symlink_to("../../../blobs/f")
    (snapshot / "1_Pooling" / "other.json").symlink_to("../../blobs/f")
    assert read_json(snapshot, "1_Pooling/config.json") == {"b": 2}
    assert code_of(snapshot, "1_Pooling/other.json") == "FX1805"


def test_too_large_missing_and_unreadable(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1" * 11)
    assert code_of(tmp_path, "x") == "FX1804"
    assert code_of(tmp_path, "y") == "FX1807"
    assert code_of(tmp_path, "n" * 500) == "FX1807"
    assert code_of(tmp_path / "x", "y") == "FX1807"


def test_no_heavy_library_is_imported(tmp_path: Path) -> None:
    write_single(tmp_path)
    code = (
        "import sys\nfrom flexit.convert.sources.source import open_source\n"
        f"print(len([one.numpy() for one in open_source({str(tmp_path)!r}).tensors.values()]))\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'onnxruntime', 'gguf', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["8", "[]"]
