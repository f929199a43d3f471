"""``docs/bundle.md`` does what it says: its Python blocks run in order, and the names it gives are those of bundles."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.ort
@pytest.mark.slow
def test_the_blocks_run_and_the_tables_name_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "example"}
    for block in BLOCKS:
        exec(compile(block, "bundle.md", "exec"), scope)
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("*/manifest.json")]
    assert len(manifests) == 3
    named = set(re.findall(r"`([\w.]+)`", PAGE))
    for manifest in manifests:
        assert {"format", "name", "flexit", "target", "versions", "models", "evidence", "files"} == set(manifest) - {
            "interface"
        }
        assert set(manifest) - {"interface"} <= named
        assert {f"interface.{key}" for key in manifest["interface"]} - {"interface.why_not"} <= named
        assert {file for file in manifest["files"] if not file.endswith("coder.onnx.data")} <= named


def test_only_the_lines_that_export_and_compare_need_flexit() -> None:
    read = [line for block in BLOCKS for line in block.splitlines() if "flexit" in line]
    assert read and all(re.search(r"^import|flexit\.(export|open_bundle|generate)\(", line) for line in read)
