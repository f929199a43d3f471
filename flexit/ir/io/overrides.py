"""``--set path=value``: overrides that merge into a document as written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from flexit.errors import Problem, SpecError
from flexit.ir.diagnostics import problem
from flexit.ir.io.flow import flow
from flexit.ir.io.yaml import MAX_NESTING, read_value
from flexit.ir.language.annotations import FieldType, GroupOf
from flexit.ir.language.variation import MergeRefused, merge
from flexit.ir.language.written import Mark, Node
from flexit.ir.schema.phase import merge_problem
from flexit.ir.spec import Spec
from flexit.ir.wording import cut, nearest, shown, typed

DOCUMENT = FieldType((GroupOf(Spec),))


def override(root: Node, sets: Iterable[str]) -> Node:
    """The document with overrides merged in, in their order.

    Args:
        root: the document.
        sets: texts such as ``blocks.decoder.layer.attention.n_heads=8``; the value is YAML.

    Raises:
        SpecError: an override is none, or meets a value that it cannot be merged into.
    """
    problems: list[Problem] = []
    for text in sets:
        try:
            root = merge(root, _node(text, root), DOCUMENT)
        except MergeRefused as refused:
            problems.append(merge_problem(refused))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return root


def _node(text: str, root: Node) -> Node:
    """The override as a document of one leaf."""
    where, sign, value = text.partition("=")
    keys = where.strip().split(".")
    file = f"--set {where}"
    if not sign or not all(keys):
        cure = "write it as blocks.NAME.FIELD=VALUE"
        raise SpecError([_refused(file, message="not an override", expected="path=value", found=text, cure=cure)])
    if len(keys) > MAX_NESTING:
        raise SpecError([
            problem(
                "FX0105", path=cut(where), message="nested too deeply",
                expected=f"a path of at most {MAX_NESTING} keys",
                found=f"{len(keys)}", cure="write the path of a field",
            ).at(f"--set {cut(where)}", None, None)
        ])  # fmt: skip
    if keys[0] == "blocks" and len(keys) > 1:
        blocks = list(root.entries["blocks"].entries) if "blocks" in root.entries else []
        if keys[1] not in blocks:
            near = nearest(keys[1], blocks)
            cure = f"write {near}" if near else "write the name of a block"
            expected = f"one of {', '.join(blocks)}"
            raise SpecError(
                [_refused(file, message="no block of this name", expected=expected, found=keys[1], cure=cure)]
            )
    mark = Mark(file, 0, 0)
    leaf = read_value(value, file, depth=len(keys))
    if keys == ["blocks"] and not isinstance(leaf.value, dict):
        raise SpecError([_refused_blocks(file, leaf, root)])
    node = _marked(leaf.at(tuple(keys)), mark)
    for depth in range(len(keys) - 1, -1, -1):
        node = Node({keys[depth]: node}, tuple(keys[:depth]), mark, {keys[depth]: mark}, touched=True, key=mark)
    return node


def _refused_blocks(file: str, leaf: Node, root: Node) -> Problem:
    """All blocks at once given a value; the cure sets a field that is there."""
    blocks = root.entries["blocks"].entries if "blocks" in root.entries else {}
    fields = ((name, key, node) for name, block in blocks.items() for key, node in block.entries.items())
    example = next(
        (f"blocks.{name}.{key}={flow(node.value)}" for name, key, node in fields if isinstance(node.value, int)),
        "blocks.NAME.FIELD=VALUE",
    )
    return problem(
        "FX0205", path="blocks", message="wrong type", expected="a field of a block, or a mapping of blocks",
        found=typed(leaf.plain()), cure=f"write one field at a time, such as --set {example}",
    ).at(file, None, None)  # fmt: skip


def _marked(node: Node, mark: Mark) -> Node:
    value = node.value
    if isinstance(value, dict):
        value = {key: _marked(child, mark) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_marked(child, mark) for child in value]
    return replace(node, value=value, mark=mark, key=mark, keys=dict.fromkeys(node.entries, mark), touched=True)


def _refused(file: str, *, message: str, expected: str, found: str, cure: str) -> Problem:
    return problem(
        "FX0201" if "block" in message else "FX0102", path="", message=message, expected=expected,
        found=shown(found), cure=cure
    ).at(file, None, None)  # fmt: skip
