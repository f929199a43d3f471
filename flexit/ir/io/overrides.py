"""``--set path=value``: overrides that merge into a document as written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from flexit.errors import Problem, SpecError
from flexit.ir.diagnostics import problem
from flexit.ir.io.flow import flow
from flexit.ir.io.yaml import read_value
from flexit.ir.language.annotations import FieldType, GroupOf
from flexit.ir.language.variation import MergeRefused, merge
from flexit.ir.language.written import MAX_NESTING, Mark, Node
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


def parsed(text: str, *, cure: str) -> Node:
    """An override as a document of one leaf, every part of which is placed at the command line.

    Args:
        text: ``path=value``, the value YAML.
        cure: how it is written, for one that is none.

    Raises:
        SpecError: it is no override, its value no YAML, or it is nested too deeply.
    """
    where, sign, value = text.partition("=")
    keys = where.strip().split(".")
    file = f"--set {cut(where)}"
    if not sign or not all(keys):
        raise SpecError([_refused("FX0102", file, message="not an override", expected="path=value", found=text,
                                  cure=cure)])  # fmt: skip
    if len(keys) > MAX_NESTING:
        raise SpecError([_refused("FX0105", file, message="nested too deeply", found=f"{len(keys)}",
                                  expected=f"a path of at most {MAX_NESTING} keys", cure=cure)])  # fmt: skip
    mark = Mark(file, 0, 0)
    node = _marked(read_value(value, file, depth=len(keys)).at(tuple(keys)), mark)
    for depth in range(len(keys) - 1, -1, -1):
        node = Node({keys[depth]: node}, tuple(keys[:depth]), mark, {keys[depth]: mark}, touched=True, key=mark)
    return node


def _node(text: str, root: Node) -> Node:
    """The override of a spec."""
    node = parsed(text, cure="write it as blocks.NAME.FIELD=VALUE")
    given = node.entries.get("blocks")
    if given is None or given.mark is None:
        return node
    file, known = given.mark.file, root.entries.get("blocks")
    if not isinstance(given.value, dict):
        raise SpecError([_refused_blocks(file, given, root)])
    blocks = list(known.entries) if known is not None else []
    (name, *others) = given.entries or [""]
    if not others and name not in blocks and text.partition("=")[0].strip() != "blocks":
        near = nearest(name, blocks)
        raise SpecError([
            _refused("FX0201", file, message="no block of this name", expected=f"one of {', '.join(blocks)}",
                     found=name, cure=f"write {near}" if near else "write the name of a block")
        ])  # fmt: skip
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


def _refused(code: str, file: str, *, message: str, expected: str, found: str, cure: str) -> Problem:
    return problem(
        code, path="", message=message, expected=expected, found=shown(found), cure=cure
    ).at(file, None, None)  # fmt: skip
