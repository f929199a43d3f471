"""The import arrow where import-linter does not look: mirrors, one place for ONNX Runtime, one exec, light imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, files, name, tree

HEAVY = ("torch", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "numpy", "matplotlib", "transformers")


def stems(folder: str) -> set[str]:
    return {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("target", ["torch", "onnx"])
def test_every_op_has_a_file_in_every_target(target: str) -> None:
    assert stems(f"lower/{target}/ops") == stems("ir/ops") - {"op"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_onnxruntime_is_run_from_one_file() -> None:
    """Export may read its version; sessions are made in one place."""
    makers = [name(path) for path in files() if "InferenceSession" in path.read_text(encoding="utf-8")]
    assert makers == ["flexit/runtime/sessions/ort_session.py"]
    users = {name(path) for path in files() if "onnxruntime" in imports(path)}
    assert users <= {"flexit/runtime/sessions/ort_session.py", "flexit/runtime/bundles/export.py"}


def test_there_is_one_exec() -> None:
    found = [
        name(path)
        for path in files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval")
    ]
    assert len(found) <= 1
    assert all(path.startswith("flexit/lower/torch/") for path in found)


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_is_light() -> None:
    assert (
        loaded_after("import flexit, flexit.ir.io.load, flexit.ir.analysis.cost, flexit.ir.views.tree, flexit.cli")
        == set()
    )


@pytest.mark.parametrize("command", ["check gpt2", "show tiny-t5", "cost tiny-moe", "kinds multi_head", "new --list"])
def test_commands_about_specs_are_light(command: str) -> None:
    assert loaded_after(f"from flexit.cli.app import run\nassert run({command.split()!r}) == 0") == set()
