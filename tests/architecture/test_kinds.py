"""Kinds are found through the registry alone: nothing else in flexit names one."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.language.kinds import Group, Kind, families, field_docs
from flexit.ir.spec import Spec
from tests.architecture.sources import PACKAGE, docstrings, files, name, tree

KINDS = registry.names(Block)
OPS = {path.stem for path in (PACKAGE / "ir" / "ops").glob("*.py")}
ALL = [(family, kind) for family in families() for kind in registry.names(family)]

WORDS_THAT_MEAN_MORE = {"add", "dropout", "embedding", "learned_tokens", "linear", "pool", "residual"}
"""Kinds that are also ops, functions of PyTorch or ONNX, parameter roles, or English. Looked for as ``kind`` alone."""


@cache
def texts(path: Path) -> set[str]:
    """Text constants of a file that are not documentation."""
    documentation = docstrings(path)
    return {
        node.value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation
    }


def constants(tree: ast.AST) -> set[str]:
    """Text constants in a part of a file."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@cache
def compared(path: Path) -> set[str]:
    """Text constants that something called ``kind`` is compared with or set to."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Compare) and "kind" in ast.unparse(node.left):
            found |= constants(node)
        if isinstance(node, ast.Match) and "kind" in ast.unparse(node.subject):
            found |= {text for case in node.cases for text in constants(case.pattern)}
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            found |= {
                value.value
                for key, value in pairs
                if isinstance(key, ast.Constant) and key.value == "kind" and isinstance(value, ast.Constant)
            }
    return found


@cache
def imported(path: Path) -> set[str]:
    """Block modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("flexit.ir.blocks"):
            found.add(node.module.rpartition(".")[2])
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_names_a_kind(kind: str) -> None:
    own = PACKAGE / "ir" / "blocks" / f"{kind}.py"
    for path in files():
        if path == own:
            continue
        assert kind not in imported(path), f"{name(path)} imports the block {kind}"
        if path.parent == own.parent or path.stem == kind:
            continue  # blocks may stand in each other's examples; another family may have a kind of that name
        found = compared(path) if kind in WORDS_THAT_MEAN_MORE or kind in OPS else texts(path)
        assert kind not in found, f"{name(path)} names the block {kind}"


def fields_of(cls: type[Group]) -> list[type[Group]]:
    """A class and the groups that its fields are."""
    from flexit.ir.language.annotations import GroupOf, fields

    found = [cls]
    for entry in fields(cls).values():
        for option in entry.type.options:
            if isinstance(option, GroupOf):
                found += fields_of(option.cls)
    return found


@pytest.mark.parametrize(("family", "kind"), ALL, ids=[f"{family.family}-{kind}" for family, kind in ALL])
def test_every_field_is_documented(family: type[Kind], kind: str) -> None:
    cls = registry.find(family, kind)
    assert cls is not None
    assert cls.__doc__, f"{kind} has no docstring"
    for group in fields_of(cls):
        for field in group.model_fields:
            assert field_docs(group).get(field), f"{group.__name__}.{field} has no docstring"


def test_every_field_of_a_spec_is_documented() -> None:
    assert set(field_docs(Spec)) >= set(Spec.model_fields)


@pytest.mark.parametrize(("family", "kind"), ALL, ids=[f"{family.family}-{kind}" for family, kind in ALL])
def test_kinds_are_final(family: type[Kind], kind: str) -> None:
    cls = registry.find(family, kind)
    assert cls is not None
    assert not [base for base in cls.__mro__[1:] if getattr(base, "kind", "")], f"{kind} derives from another kind"


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_have_examples_and_few_fields(kind: str) -> None:
    cls = registry.find(Block, kind)
    assert cls is not None and issubclass(cls, Block)
    assert 1 <= len(cls.examples) <= 4
    for group in fields_of(cls):
        own = set(group.model_fields) - set(Block.model_fields)
        assert len(own) <= 12, f"{group.__name__} has {len(own)} fields"
