"""No file over 400 lines, no function over 60, at most three positional arguments. There is no list of exceptions, but
for public signatures that keep the order that users of other libraries know.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import files, functions, name, tree

MAX_FILE, MAX_FUNCTION, MAX_POSITIONAL = 400, 60, 3
KNOWN = {
    "flexit/runtime/train/trainer.py:__init__",
    "flexit/train.py:__init__",
    "flexit/attention.py:__init__",
    "flexit/attention.py:forward",
    "flexit/inference.py:greedy_decode",
    "flexit/inference.py:sample_decode",
}


@pytest.mark.parametrize("path", files(), ids=name)
def test_file(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE, f"{name(path)} has {lines} lines: split it"


@pytest.mark.parametrize("path", files(), ids=name)
def test_functions(path: Path) -> None:
    for function in functions(path):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        assert lines <= MAX_FUNCTION, f"{name(path)}:{function.lineno} {function.name} has {lines} lines: split it"


@pytest.mark.parametrize("path", files(), ids=name)
def test_positional_arguments(path: Path) -> None:
    for function in functions(path):
        if f"{name(path)}:{function.name}" in KNOWN:
            continue
        given = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        own = [argument for argument in given if argument not in ("self", "cls")]
        assert len(own) <= MAX_POSITIONAL, (
            f"{name(path)}:{function.lineno} {function.name} takes {len(own)} positional arguments: "
            "make the later ones keyword-only, or give them a name together"
        )


@pytest.mark.parametrize("path", [path for path in files() if path.name == "__init__.py"], ids=name)
def test_init_only_re_exports(path: Path) -> None:
    lazy = {"flexit/__init__.py": {"__getattr__", "__dir__"}}.get(name(path), set())
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef) and node.name in lazy:
            continue
        assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), (
            f"{name(path)} defines {node.name}"
        )


@pytest.mark.parametrize("path", files(), ids=name)
def test_module_docstring(path: Path) -> None:
    text = ast.get_docstring(tree(path))
    if path.read_text(encoding="utf-8").strip():
        assert text, f"{name(path)} does not say what is in it"
