"""The layers of a stack: what is written, which overrides each one gets, and the validated results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from flexit.ir.block import Block, Fault
from flexit.ir.language import variation
from flexit.ir.language.kinds import choose
from flexit.ir.language.names import free_name
from flexit.ir.language.template import Template, as_written
from flexit.ir.language.variation import Choice, MergeRefused
from flexit.ir.language.written import Node, line_of
from flexit.ir.wording import nearest, several, shown

__all__ = ["LayerPlan", "Template", "Varied", "as_written", "check_variation", "merged", "touched"]


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
        choices = variation.choices(stack.n_layers, stack.pattern, stack.layers)
        written = {choice: merged(stack, choice) for choice in dict.fromkeys(choices)}
        blocks: dict[Choice, Block] = {}
        for choice, node in written.items():
            block = choose(Block, node.plain())
            assert isinstance(block, Block)
            blocks[choice] = block
        return cls(choices, blocks, written)


def merged(stack: Varied, choice: Choice) -> Node:
    """The layer as written, with the variants of ``choice``."""
    variants = {name: _placed(stack, template, "variants", name) for name, template in stack.variants.items()}
    return variation.vary(_placed(stack, stack.layer, "layer"), variants, choice)


def _placed(stack: Varied, template: Template, *keys: str) -> Node:
    """The text of a template; a bare kind knows its place only through the stack."""
    node = stack.node if isinstance(stack, Block) else None
    if node is None or not isinstance(template.node.value, str):
        return template.node
    found, left = node.find(keys)
    return template.node if left or found.value != template.node.value else found


def check_variation(stack: Varied, *, effect: bool = True) -> Iterator[Fault]:
    """Faults of ``variants``, ``pattern`` and ``layers``; with ``effect`` also of variants that do nothing."""
    faults = [*_check_names(stack), *_check_length(stack), *_check_indices(stack)]
    yield from faults
    if effect and not faults:
        yield from _check_effect(stack)


def _check_names(stack: Varied) -> Iterator[Fault]:
    known = [*stack.variants, variation.DEFAULT]
    if variation.DEFAULT in stack.variants:
        yield Fault(
            code="FX0601", field="variants.default", on_key=True, message="default cannot be defined",
            expected="another name: default is the layer as written", found="default", cure="rename the variant",
        )  # fmt: skip
    if not stack.pattern:
        yield _bad_entry("pattern", [])
    for place, name, may_be_default in _uses(stack):
        if name is None:
            yield _bad_entry(place, stack.pattern[int(place.partition(".")[2])])
        elif name not in known or (name == variation.DEFAULT and not may_be_default):
            near = nearest(name, list(stack.variants))
            is_default = name == variation.DEFAULT
            yield Fault(
                code="FX0601", field=place, found=name,
                message="default stands alone in a pattern, and nowhere else"
                if is_default else "no variant of this name",
                expected=f"one of {', '.join(stack.variants)}"
                if stack.variants else "variants, of which there are none",
                cure=f"write {near}" if near else f"define {name} under variants" if not is_default else "delete it",
            )  # fmt: skip


def _check_length(stack: Varied) -> Iterator[Fault]:
    """FX0109, before anything is written out."""
    lengths = [variation.written_out(entry) for entry in stack.pattern]
    if sum(lengths) > variation.MOST_ENTRIES:
        longest = lengths.index(max(lengths))
        yield Fault(
            code="FX0109", field=f"pattern.{longest}", message="more entries than the limit, name*N written out",
            expected=f"at most {variation.MOST_ENTRIES:,} in the pattern", found=shown(stack.pattern[longest]),
            cure="write one cycle; it is repeated until every layer has an entry",
        )  # fmt: skip


def _uses(stack: Varied) -> Iterator[tuple[str, str | None, bool]]:
    """Where each variant is named, the name (None in an entry that is malformed), and whether it may be ``default``."""
    for index, entry in enumerate(stack.pattern):
        if isinstance(entry, list):
            yield from ((f"pattern.{index}.{at}", name, False) for at, name in enumerate(entry))
            continue
        match = variation.ENTRY.fullmatch(entry)
        yield f"pattern.{index}", None if match is None else match["name"], True
    for key, names in stack.layers.items():
        if isinstance(names, str):
            yield f"layers.{key}", names, False
        else:
            yield from ((f"layers.{key}.{at}", name, False) for at, name in enumerate(names))


def _bad_entry(place: str, entry: object) -> Fault:
    return Fault(
        code="FX0601", field=place, message="not a pattern entry",
        expected="name, name*N, or a list of names", found=shown(entry),
        cure=f"write {free_name(entry)}" if isinstance(entry, str) and entry.isidentifier()
        else "write an entry such as default*3",
    )  # fmt: skip


def _check_indices(stack: Varied) -> Iterator[Fault]:
    taken: dict[int, str] = {}
    for key in stack.layers:
        indices = variation.layer_indices(key, stack.n_layers)
        if indices is not None and not indices and touched(stack):
            continue
        if not indices:
            yield Fault(
                code="FX0604", field=f"layers.{key}", on_key=True, message="hits no layer",
                expected=f"an index from {-stack.n_layers} to {stack.n_layers - 1}, or a range such as \"0:3\"",
                found=key, cure="correct the index, or delete the entry",
            )  # fmt: skip
            continue
        twice = next((index for index in indices if index in taken), None)
        if twice is not None:
            yield Fault(
                code="FX0604", field=f"layers.{key}", on_key=True,
                message=f"hits layer {twice}, as {taken[twice]} does",
                expected="one key per layer", found=f"{taken[twice]} and {key}", cure="make the keys disjoint",
            )  # fmt: skip
        taken |= dict.fromkeys(indices, key)


def _check_effect(stack: Varied) -> Iterator[Fault]:
    if touched(stack):
        return
    choices = variation.choices(stack.n_layers, stack.pattern, stack.layers)
    distinct = dict.fromkeys(choices)
    for name, variant in stack.variants.items():
        users = [choice for choice in distinct if name in choice.names]
        if not users:
            yield Fault(
                code="FX0602", field=f"variants.{name}", on_key=True, message="no layer uses this variant",
                expected="a name in pattern or layers",
                found=f"{_count(stack.n_layers, 'layer')} and a pattern of "
                f"{_count(_cycle_length(stack), 'entry')} without it",
                cure=f"use {name} in pattern or layers, or delete it",
            )  # fmt: skip
            continue
        try:
            effective = any(_differs(stack, choice, name) for choice in users)
        except MergeRefused as refused:
            yield merge_fault(refused, variant, name)
            continue
        if not effective:
            yield _no_effect(stack, name, [index for index, choice in enumerate(choices) if name in choice.names])


def _no_effect(stack: Varied, name: str, users: list[int]) -> Fault:
    variant, layer = stack.variants[name].node, stack.layer.node
    leaf, keys = variant, list[str]()
    while len(leaf.entries) == 1:
        key = next(iter(leaf.entries))
        leaf = leaf.entries[key]
        keys.append(key)
    old, left = layer.find(tuple(keys))
    what = f" ({keys[-1]}{line_of(old, ', line {}')})" if keys and not left else ""
    where = several([*map(str, users[:4]), *([f"{len(users) - 4} more"] if len(users) > 4 else [])])
    both = "" if len(users) == 1 else " in both" if len(users) == 2 else " in all of them"
    return Fault(
        code="FX0603", field=f"variants.{name}", place=".".join(["variants", name, *keys]),
        message=f"changes nothing in {'layer' if len(users) == 1 else 'layers'} {where}",
        expected=f"a value that differs from the layer as written{what}", found=f"{shown(leaf.plain())}{both}",
        cure=f"delete {name} from variants and pattern, or change another value in it",
    )  # fmt: skip


def touched(stack: Varied) -> bool:
    """Whether the command line or a grid changed the stack: what the file says about layers may then be idle."""
    node: Node | None = getattr(stack, "node", None)
    written = [stack.layer.node, *(variant.node for variant in stack.variants.values())]
    return (node is not None and node.touched) or any(one.touched for one in written)


def _cycle_length(stack: Varied) -> int:
    cycle = variation.expand_pattern(stack.pattern)
    return len(cycle)


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def merge_fault(refused: MergeRefused, variant: Template, name: str) -> Fault:
    """The fault of an override that meets a scalar."""
    inside = refused.new.path[len(variant.node.path) :]
    full = ", ".join(f"{key}: {shown(node.plain())}" for key, node in refused.new.entries.items())
    return Fault(
        code="FX0607", field=".".join(["variants", name, *map(str, inside)]),
        message="a mapping cannot be merged into this value", expected="the full form, with every key written",
        found=f"{shown(refused.old.plain())} in the layer{line_of(refused.old)}",
        cure=f"write every key, such as {{{full}, ...}}",
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
