"""The layers of a stack: what is written, which overrides each one gets, and the validated results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from flexit.ir import variation
from flexit.ir.block import Block, Fault
from flexit.ir.language import choose
from flexit.ir.template import Template, as_written
from flexit.ir.variation import Choice, MergeRefused
from flexit.ir.written import Node, Scalar


__all__ = ["LayerPlan", "Template", "Varied", "as_written", "check_variation", "merged"]


@runtime_checkable
class Varied(Protocol):
    """What a block with variants has."""

    @property
    def n_layers(self) -> int: ...
    @property
    def layer(self) -> Template: ...
    @property
    def variants(self) -> dict[str, Template]: ...
    @property
    def pattern(self) -> list[str | list[str]]: ...
    @property
    def layers(self) -> dict[str, str | list[str]]: ...


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The distinct layers of a stack and which of them layer i is.

    Attributes:
        written: the merged text of each distinct layer.
    """

    choices: tuple[Choice, ...]
    blocks: Mapping[Choice, Block]
    written: Mapping[Choice, Node] = field(repr=False)

    def layer(self, index: int) -> Block:
        """The validated layer ``index``."""
        return self.blocks[self.choices[index]]

    def distinct(self) -> Iterator[tuple[Choice, Block, Node]]:
        """Each distinct layer once, in order of first use."""
        for choice, block in self.blocks.items():
            yield choice, block, self.written[choice]

    @classmethod
    def of(cls, stack: Varied) -> LayerPlan:
        """Merge and validate; the stack has passed :func:`check_variation`."""
        choices = tuple(variation.choices(stack.n_layers, stack.pattern, stack.layers))
        written = {choice: merged(stack, choice) for choice in dict.fromkeys(choices)}
        blocks: dict[Choice, Block] = {}
        for choice, node in written.items():
            block = choose(Block, node.plain())
            assert isinstance(block, Block)
            blocks[choice] = block
        return cls(choices, blocks, written)


def merged(stack: Varied, choice: Choice) -> Node:
    """The layer as written, with the variants of ``choice``."""
    variants = {name: template.node for name, template in stack.variants.items()}
    return variation.vary(stack.layer.node, variants, choice)


def check_variation(stack: Varied, *, effect: bool = True) -> Iterator[Fault]:
    """Faults of ``variants``, ``pattern`` and ``layers``; with ``effect`` also of variants that do nothing."""
    faults = [*_check_names(stack), *_check_indices(stack)]
    yield from faults
    if effect and not faults:
        yield from _check_effect(stack)


def _check_names(stack: Varied) -> Iterator[Fault]:
    known = [*stack.variants, variation.DEFAULT]
    if variation.DEFAULT in stack.variants:
        yield Fault(
            code="FX0601", field="variants.default", message="default cannot be defined",
            expected="another name: default is the layer as written", found="default", cure="rename the variant",
        )  # fmt: skip
    used: list[tuple[str, str, bool]] = []
    if not stack.pattern:
        yield _bad_entry("pattern", "[]")
    for index, entry in enumerate(stack.pattern):
        if isinstance(entry, list):
            used += [(f"pattern.{index}", name, False) for name in entry]
            continue
        match = variation.ENTRY.fullmatch(entry)
        if match is None:
            yield _bad_entry(f"pattern.{index}", entry)
        else:
            used.append((f"pattern.{index}", match["name"], True))
    for key, names in stack.layers.items():
        used += [(f"layers.{key}", name, False) for name in ([names] if isinstance(names, str) else names)]
    for place, name, may_be_default in used:
        if name not in known or (name == variation.DEFAULT and not may_be_default):
            yield Fault(
                code="FX0601", field=place, message="no variant of this name",
                expected=f"one of {', '.join(sorted(stack.variants)) or 'no variants at all'}", found=name,
                cure="define it under variants, or correct the name",
            )  # fmt: skip


def _bad_entry(place: str, entry: str) -> Fault:
    return Fault(
        code="FX0601", field=place, message="not a pattern entry",
        expected="name, name*N, or a list of names", found=entry, cure="write an entry such as default*3",
    )  # fmt: skip


def _check_indices(stack: Varied) -> Iterator[Fault]:
    taken: dict[int, str] = {}
    for key in stack.layers:
        indices = variation.layer_indices(key, stack.n_layers)
        if not indices:
            yield Fault(
                code="FX0604", field=f"layers.{key}", message="hits no layer",
                expected=f"an index from {-stack.n_layers} to {stack.n_layers - 1}, or a range such as \"0:3\"",
                found=key, cure="correct the index, or delete the entry",
            )  # fmt: skip
            continue
        twice = next((index for index in indices if index in taken), None)
        if twice is not None:
            yield Fault(
                code="FX0604", field=f"layers.{key}", message=f"hits layer {twice}, as {taken[twice]} does",
                expected="one key per layer", found=f"{taken[twice]} and {key}", cure="make the keys disjoint",
            )  # fmt: skip
        taken |= dict.fromkeys(indices, key)


def _check_effect(stack: Varied) -> Iterator[Fault]:
    if stack.layer.node.touched or any(variant.node.touched for variant in stack.variants.values()):
        return
    choices = tuple(variation.choices(stack.n_layers, stack.pattern, stack.layers))
    distinct = dict.fromkeys(choices)
    for name, variant in stack.variants.items():
        users = [choice for choice in distinct if name in choice.names]
        if not users:
            yield Fault(
                code="FX0602", field=f"variants.{name}", message="no layer uses it",
                expected="a name in pattern or layers", found=f"{stack.n_layers} layers, {len(stack.pattern)} pattern entries",
                cure=f"use {name} in pattern or layers, or delete it",
            )  # fmt: skip
            continue
        try:
            effective = any(_differs(stack, choice, name) for choice in users)
        except MergeRefused as refused:
            yield merge_fault(refused, variant, name)
            continue
        if not effective:
            where = [str(index) for index, choice in enumerate(choices) if name in choice.names][:4]
            yield Fault(
                code="FX0603", field=f"variants.{name}", message=f"changes nothing in layers {' and '.join(where)}",
                expected="a value that differs from the layer as written", found="the values already there",
                cure=f"delete {name} from variants and pattern, or change another value in it",
            )  # fmt: skip


def merge_fault(refused: MergeRefused, variant: Template, name: str) -> Fault:
    """The fault of an override that meets a scalar."""
    inside = refused.new.path[len(variant.node.path) :]
    return Fault(
        code="FX0607", field=".".join(["variants", name, *map(str, inside)]),
        message="a mapping cannot be merged into this value", expected="the full form, with every key written",
        found=f"{_shown(refused.old.value)} in the layer", cure="write all keys, such as {q: true, k: true, v: true, o: false}",
    )  # fmt: skip


def _differs(stack: Varied, choice: Choice, name: str) -> bool:
    without = Choice(tuple(other for other in choice.names if other != name))
    return _canonical(merged(stack, choice)) != _canonical(merged(stack, without))


def _canonical(node: Node) -> Any:
    """Data to compare two merged layers by; validated where both are valid, so that a written default is no change."""
    try:
        return choose(Block, node.plain())
    except ValueError:
        return node.plain()


def _shown(value: Scalar | dict[str, Node] | list[Node]) -> str:
    return {True: "true", False: "false", None: "null"}.get(value, str(value)) if isinstance(value, bool | None) else str(value)
