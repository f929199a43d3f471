"""The source files of flexit as syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flexit"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def files(below: str = "") -> list[Path]:
    return sorted((PACKAGE / below).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def docstrings(path: Path) -> set[ast.Constant]:
    """Every text that documents something: docstrings, and those under fields and constants."""
    found: set[ast.Constant] = set()
    for node in ast.walk(tree(path)):
        for entry in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            if isinstance(entry, ast.Expr) and isinstance(entry.value, ast.Constant):
                found.add(entry.value)
    return found
