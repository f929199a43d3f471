"""The schema phase: the document, then what stands inside each block that is valid, merged layers included."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flexit.errors import Problem
from flexit.ir.block import Block
from flexit.ir.diagnostics import problem
from flexit.ir.faults import at_node, placed
from flexit.ir.language import variation
from flexit.ir.language.annotations import FieldType, GroupOf, KindOf, Unchecked, class_of, fields
from flexit.ir.language.layers import Varied, check_variation, merged
from flexit.ir.language.names import PATTERN
from flexit.ir.language.template import Template
from flexit.ir.language.variation import Choice, MergeRefused
from flexit.ir.language.written import Node, dotted, line_of
from flexit.ir.schema.explain import bad_variant, explain, unknown_field
from flexit.ir.schema.locate import Spot, locate
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest, shown

DOCUMENT = FieldType((GroupOf(Spec),))
SLOT = FieldType((KindOf(Block),))


def validate(root: Node) -> tuple[Spec | None, list[Problem]]:
    """The spec that a document says, or every problem with its fields and kinds."""
    problems: list[Problem] = []
    width = _width_of(root)
    spec: Spec | None = None
    blocks: dict[str, Block] = {}
    try:
        spec = Spec.of(root)
        blocks = spec.blocks
    except ValidationError as error:
        problems += explained(error, DOCUMENT, root, width=width)
        blocks = dict(_valid_blocks(root))
    for block in blocks.values():
        problems += inner_problems(block, named=True, width=width)
    if spec is None:
        problems += _layers_of_invalid(root, set(blocks), width)
    for block in blocks.values() if problems else ():
        problems += _variation_problems(block)
    return (None if problems else spec), list(dict.fromkeys(problems))


def validate_block(node: Node, *, width: int | None = None) -> tuple[Block | None, list[Problem]]:
    """The block that a mapping in a slot says, or what is wrong with it; ``width`` is the model's, if it has one."""
    try:
        return _any_block().validate_python(node.plain()), []
    except ValidationError as error:
        return None, list(explained(error, SLOT, node, width=width))


def inner_problems(block: Block, *, named: bool, width: int | None) -> Iterator[Problem]:
    """Problems of what stands inside a block: misplaced ``from`` and ``shares``, and layers as merged."""
    if not named and block.node is not None:
        for name in ("from", "shares"):
            if name in block.node.entries:
                node = block.node.entries[name]
                yield unknown_field(Spot(type(block), block.node, name, None, FieldType((Unchecked(),)), node), {})
    for keys, child in block.inside():
        yield from inner_problems(child, named=len(keys) > 1, width=width)
    if isinstance(block, Varied):
        yield from _layer_problems(block, width)


def _layer_problems(block: Block, width: int | None) -> Iterator[Problem]:
    """Problems of the layers as merged; mistakes in ``pattern`` and ``layers`` spare only the layers they are about."""
    assert isinstance(block, Varied)
    for name in block.variants:
        if not PATTERN.fullmatch(name) and block.node is not None:
            yield bad_variant(block.node.entries["variants"], name)
    if not any(check_variation(block, effect=False)):
        for choice in dict.fromkeys(variation.choices(block.n_layers, block.pattern, block.layers)):
            yield from _merged_problems(block, choice, width)
        return
    sure = variation.sure_choices(block.pattern, block.variants)
    for choice in sure:
        yield from _merged_problems(block, choice, width)
    used = {name for choice in sure for name in choice.names}
    unsure = [Choice((name,)) for name in block.variants if name not in used and PATTERN.fullmatch(name)]
    for choice in unsure if sure else (Choice(()), *unsure):
        yield from _certain(_merged_problems(block, choice, width))


def _merged_problems(block: Varied, choice: Choice, width: int | None) -> Iterator[Problem]:
    try:
        node = merged(block, choice)
    except MergeRefused as refused:
        yield merge_problem(refused)
        return
    yield from _block_problems(node, width)


def _block_problems(node: Node, width: int | None) -> Iterator[Problem]:
    layer, problems = validate_block(node, width=width)
    yield from problems
    if layer is not None:
        yield from inner_problems(layer, named=False, width=width)


def _certain(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Those that no further variant puts right by adding a field."""
    yield from (problem for problem in problems if problem.code not in ("FX0202", "FX0607"))


def _layers_of_invalid(root: Node, valid: Container[str], width: int | None) -> Iterator[Problem]:
    """Problems of the layers of stacks that are not valid themselves, say for want of ``n_layers``."""
    blocks = root.entries.get("blocks")
    for name, node in (blocks.entries if blocks is not None else {}).items():
        cls = class_of(KindOf(Block), node.entries.get("kind")) if name not in valid else None
        for field, info in cls.model_fields.items() if cls is not None else ():
            if info.annotation is Template and field in node.entries:
                yield from _certain(_block_problems(node.entries[field], width))


def _variation_problems(block: Block) -> Iterator[Problem]:
    """Names that are no variant, and bad keys of ``layers``: told beside other mistakes, and else with the graph's."""
    for _, child in block.inside():
        yield from _variation_problems(child)
    if isinstance(block, Varied) and block.node is not None:
        yield from (at_node(block.node, fault) for fault in check_variation(block, effect=False))


def merge_problem(refused: MergeRefused) -> Problem:
    """An override that meets a scalar it cannot open."""
    new = refused.new
    full = ", ".join(f"{key}: {shown(node.plain())}" for key, node in new.entries.items())
    old = shown(refused.old.plain())
    return placed(
        problem(
            "FX0607", path=dotted(new.path), message="a mapping cannot be merged into this value",
            expected="the full form, with every key written",
            found=f"{old} in what it is merged into{line_of(refused.old)}",
            cure=f"write every key, such as {{{full}, ...}}, in the place of {old}",
        ), new.mark,
    )  # fmt: skip


@cache
def _any_block() -> TypeAdapter[Any]:
    return TypeAdapter(Block)


def explained(error: ValidationError, type_: FieldType, root: Node, *, width: int | None = None) -> Iterator[Problem]:
    """What pydantic found wrong, each once, in the words of the language.

    Args:
        error: of validating ``root``.
        type_: what the document is.
        root: the document.
        width: the model's, if it has one.
    """
    seen: set[tuple[str, str]] = set()
    for entry in error.errors(include_url=False, include_input=False):
        spot = locate(type_, root, entry["loc"])
        if spot is None or (entry["type"] == "missing" and _is_misspelt(spot)):
            continue
        found = explain(spot, entry["type"], {**entry.get("ctx", {}), "width": width})
        if (found.code, found.path) not in seen:
            seen.add((found.code, found.path))
            yield found


def _is_misspelt(spot: Spot) -> bool:
    """Whether a field is missing only because it is written under another name, which is told."""
    known = list(fields(spot.owner)) if spot.owner is not None else []
    unknown = [key for key in spot.parent.entries if key not in known]
    return any(nearest(key, known) == spot.name for key in unknown)


def _width_of(root: Node) -> int | None:
    """The ``d_model`` of a document whose blocks all have one and the same."""
    blocks = root.entries.get("blocks")
    written = [node.entries["d_model"].value for node in (blocks.entries if blocks is not None else {}).values()
               if "d_model" in node.entries]  # fmt: skip
    found = {value for value in written if isinstance(value, int) and not isinstance(value, bool) and value > 0}
    return next(iter(found)) if len(found) == 1 else None


def _valid_blocks(root: Node) -> Iterator[tuple[str, Block]]:
    """The blocks of a document that are valid, at least without the fields that are wrong."""
    blocks = root.entries.get("blocks")
    for name, node in (blocks.entries if blocks is not None else {}).items():
        data = node.plain()
        try:
            yield name, _any_block().validate_python(data)
        except ValidationError as error:
            wrong = {entry["loc"][0] for entry in error.errors(include_url=False, include_input=False) if entry["loc"]}
            right = {key: entry for key, entry in node.entries.items() if key not in wrong}
            if not wrong or len(right) == len(node.entries):
                continue
            with suppress(ValidationError):
                yield name, _any_block().validate_python(replace(node, value=right).plain())
