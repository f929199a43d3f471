"""A scope: a map of named blocks, and how their edges resolve. The document and every composite with ``blocks`` are
scopes; :mod:`flexit.ir.expansion.wiring` expands them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from flexit.ir.block import Block, Fault, Port
from flexit.ir.expansion.edges import MAIN_OUTPUT
from flexit.ir.language.names import check_name
from flexit.ir.ordering import in_dependence_order
from flexit.ir.wording import nearest, several, shown

Name = Annotated[str, AfterValidator(check_name)]


def _not_empty(blocks: dict[str, Block]) -> dict[str, Block]:
    if not blocks:
        raise PydanticCustomError("no_blocks", "no blocks", {})
    return blocks


BlockMap = Annotated[dict[Name, Block], AfterValidator(_not_empty)]
"""The blocks of a scope by name, at least one."""

EDGE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(\.(?P<port>[a-z][a-z0-9_]*)(\[(?P<index>-?[0-9]{1,9})\])?)?")

MAIN_PORTS = {port: name for name, port in MAIN_OUTPUT.items() if name != "tokens"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where an edge comes from.

    Attributes:
        port: an output port of the block, or None for the main one.
        index: a layer of a ``layers`` port.
        each: one layer of the block per layer of the reader, in this order.
    """

    name: str
    port: str | None = None
    index: int | None = None
    each: Literal["same", "reversed"] | None = None

    def __str__(self) -> str:
        index = "" if self.index is None else f"[{self.index}]"
        return self.name + (f".{self.port}{index}" if self.port else "")


Wires = dict[str, tuple[Source, ...]]


@dataclass(frozen=True, slots=True)
class Scope:
    """A resolved map of blocks.

    Attributes:
        wires: for each block, its ports and their sources.
        order: names in an order in which they can be expanded, as written where possible.
        faults: (block name or "", fault) for everything that does not resolve.
    """

    wires: Mapping[str, Wires]
    order: tuple[str, ...]
    faults: tuple[tuple[str, Fault], ...]


def resolve(blocks: Mapping[str, Block], ports: Sequence[str], *, chain_from: str | None) -> Scope:
    """Resolve the edges of a scope.

    Args:
        blocks: the blocks as written.
        ports: names of the enclosing composite's ports, or of the graph inputs.
        chain_from: what the first block reads without ``from:``, if anything.
    """
    faults: list[tuple[str, Fault]] = []
    wires: dict[str, Wires] = {}
    before = chain_from
    for name, block in blocks.items():
        if name in ports:
            faults.append((name, _shadowed(name)))
        found = list(_wires_of(block, blocks, ports, before=before))
        faults += [(name, fault) for fault in found if isinstance(fault, Fault)]
        wires[name] = dict(wire for wire in found if not isinstance(wire, Fault))
        before = name
    order, cycle_faults = _ordered(blocks, wires, ports)
    return Scope(wires, order, (*faults, *cycle_faults))


def _wires_of(
    block: Block, blocks: Mapping[str, Block], ports: Sequence[str], *, before: str | None
) -> Iterator[Fault | tuple[str, tuple[Source, ...]]]:
    main, main_port = next(iter(block.inputs.items()))
    written = block.wired
    if written is None:
        if not main_port.chains or before is None:
            yield _nothing_to_chain(main, main_port, ports)
        else:
            yield main, (Source(before),)
            yield from _unwired(block, (main,))
        return
    named = isinstance(written, dict)
    by_port: Mapping[str, Any] = written if isinstance(written, dict) else {main: written}
    for port, value in by_port.items():
        declared = block.inputs.get(port)
        if declared is None and not block.takes_extra_ports:
            yield _unknown_port(block, port)
            continue
        variadic = declared is not None and declared.variadic
        slot = _Slot(port, f"from.{port}" if named else "from", variadic, blocks, ports)
        sources = list(_sources(value, slot))
        wrong = [source for source in sources if isinstance(source, Fault)]
        yield from wrong
        if not wrong:
            yield port, tuple(source for source in sources if isinstance(source, Source))
    yield from _unwired(block, tuple(by_port))


def _unwired(block: Block, wired: Sequence[str]) -> Iterator[Fault]:
    """Required ports that nothing is wired to."""
    for port, declared in block.inputs.items():
        if port not in wired and not declared.optional:
            yield Fault(
                code="FX0305", field="from", message=f"the port {port} of {block.kind} is not wired",
                expected=f"an edge for each of {', '.join(p for p, d in block.inputs.items() if not d.optional)}",
                found=f"{several(wired)} alone" if wired else "none",
                cure=f"add {port} to from, as {{{port}: ...}}",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Slot:
    """A port to be wired, the field that says how, and what is in scope there."""

    port: str
    field: str
    variadic: bool
    blocks: Mapping[str, Block]
    ports: Sequence[str]


def _sources(value: Any, slot: _Slot) -> Iterator[Source | Fault]:
    if isinstance(value, dict):
        yield _each(cast("dict[str, Any]", value), slot)
        return
    edges = cast("list[Any]", value) if isinstance(value, list) else [value]
    if isinstance(value, list) and (not slot.variadic or len(edges) < 2):
        yield Fault(
            code="FX0305" if slot.variadic else "FX0302", field=slot.field,
            message=f"the port {slot.port} takes {'two edges or more' if slot.variadic else 'one edge'}",
            expected="a list of at least two edges" if slot.variadic else "one edge", found=shown(edges),
            cure="name at least two blocks" if slot.variadic else "name one of them, or join them in a block before",
        )  # fmt: skip
        return
    if slot.variadic and not isinstance(value, list) and not _is_list(value, slot):
        yield Fault(
            code="FX0305", field=slot.field, message=f"the port {slot.port} takes two edges or more",
            expected="a list of at least two edges", found=shown(value), cure=f"write [{shown(value)}, ...]",
        )  # fmt: skip
        return
    for index, edge in enumerate(edges):
        place = f"{slot.field}.{index}" if isinstance(value, list) else slot.field
        yield find_edge(edge, slot.blocks, slot.ports, field=place, variadic=slot.variadic)


def _is_list(value: Any, slot: _Slot) -> bool:
    """Whether one edge is several: all layers of a sibling."""
    match = EDGE.fullmatch(value) if isinstance(value, str) else None
    block = slot.blocks.get(match["name"]) if match is not None else None
    return block is None or (match is not None and match["port"] in block.layer_outputs and match["index"] is None)


def find_edge(
    edge: Any, blocks: Mapping[str, Block], ports: Sequence[str], *, field: str = "from", variadic: bool = False
) -> Source | Fault:
    """What one written edge means in a scope.

    Args:
        edge: as written.
        blocks: the blocks of the scope.
        ports: the ports of the enclosing composite, or the graph inputs.
        field: what a fault is about.
        variadic: whether all layers at once are welcome.
    """
    match = EDGE.fullmatch(edge) if isinstance(edge, str) else None
    if match is None:
        return Fault(
            code="FX0301", field=field, message="not an edge",
            expected="block, block.port, block.layers[i], a port or a graph input", found=shown(edge),
            cure="write the name of a block",
        )  # fmt: skip
    name, port, index = match["name"], match["port"], match["index"]
    if name not in blocks and name not in ports:
        return Fault(
            code="FX0301", field=field, message="no block, port or graph input of this name",
            expected=_in_scope(blocks, ports), found=name,
            cure=f"write {nearest(name, [*blocks, *ports]) or 'one of them'}",
        )  # fmt: skip
    if port is not None and (name not in blocks or not _has_port(blocks[name], port, index)):
        known = _output_ports(blocks[name]) if name in blocks else []
        return Fault(
            code="FX0301", field=field, message=f"{name} has no such output port",
            expected=f"{', '.join(known)}" if known else "no port after a port or graph input", found=edge,
            cure=f"write {name}",
        )  # fmt: skip
    if port in (blocks[name].layer_outputs if name in blocks else ()):
        source = Source(name, port, None if index is None else int(index))
        return _of_layers(source, blocks[name], field=field, variadic=variadic)
    return Source(name, port)


def _of_layers(source: Source, block: Block, *, field: str, variadic: bool) -> Source | Fault:
    count = getattr(block, "n_layers", None)
    if source.index is None and not variadic:
        return Fault(
            code="FX0302", field=field, message="a list of sequences into a port that takes one",
            expected=f"one of them, such as {source}[-1]", found=str(source), cure=f"write {source}[-1]",
        )  # fmt: skip
    if source.index is not None and isinstance(count, int) and not -count <= source.index < count:
        return no_such_layer(source, count, field=field)
    return source


def main_ports(block: Block) -> tuple[str, ...]:
    """Names that the main output port may have."""
    if block.main_output:
        return (block.main_output,)
    return tuple(port for port, type_ in MAIN_PORTS.items() if block.output in ("same", type_))


def _output_ports(block: Block) -> list[str]:
    return [*main_ports(block), *block.more_outputs]


def _has_port(block: Block, port: str, index: str | None) -> bool:
    return port in block.layer_outputs or (index is None and port in _output_ports(block))


def _each(value: Mapping[str, Any], slot: _Slot) -> Source | Fault:
    name, order = value.get("each"), value.get("order", "same")
    known = [other for other, block in slot.blocks.items() if "layers" in block.more_outputs]
    if set(value) - {"each", "order"} or order not in ("same", "reversed") or name not in known:
        return Fault(
            code="FX0308", field=slot.field, message="not the layers of a sibling stack",
            expected=f"each: one of {', '.join(known) or 'no stack here'}, order: same or reversed",
            found=shown(value), cure="write {each: STACK, order: reversed}",
        )  # fmt: skip
    return Source(str(name), "layers", None, order)


def _ordered(
    blocks: Mapping[str, Block], wires: Mapping[str, Wires], ports: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, Fault]]]:
    inside = set(blocks) - set(ports)
    sources = {
        name: {source.name for found in wires.get(name, {}).values() for source in found} & inside for name in blocks
    }
    order, cycles = in_dependence_order(sources)
    return order, [(cycle[0], _cycle(cycle, blocks)) for cycle in cycles]


def _cycle(cycle: Sequence[str], blocks: Mapping[str, Block]) -> Fault:
    marks = [node.mark for name in cycle if (node := blocks[name].node) is not None and node.mark is not None]
    lines = ", ".join(str(mark.line) for mark in marks)
    first, last = cycle[0], cycle[-1]
    other = f", or {first} out of that of {cycle[1]}" if len(cycle) > 1 else ""
    return Fault(
        code="FX0303", field="", message="blocks form a cycle", expected="a graph without cycles",
        found=" -> ".join([*cycle, first]) + (f" ({'lines' if len(marks) > 1 else 'line'} {lines})" if marks else ""),
        cure=f"take {last} out of the from: of {first}{other}",
    )  # fmt: skip


def _shadowed(name: str) -> Fault:
    return Fault(
        code="FX0304", field="", on_key=True, message="named like a port or graph input of its scope",
        expected="a name of its own, since nothing is shadowed", found=name, cure=f"rename it, such as {name}_block",
    )  # fmt: skip


def _nothing_to_chain(main: str, port: Port, ports: Sequence[str]) -> Fault:
    if not port.chains:
        return Fault(
            code="FX0307", field="from", message=f"the port {main} does not chain",
            expected="from: with its edges", found="no from:",
            cure=f"add from: {'[a, b]' if port.variadic else 'and the block to read'}",
        )  # fmt: skip
    if not ports:
        return Fault(
            code="FX0307", field="from", message="nothing to chain from", expected="a graph input to read",
            found="no from:, and no graph input", cure="leave inputs out, or declare one under it",
        )  # fmt: skip
    return Fault(
        code="FX0307", field="from", message="nothing to chain from", expected=f"from: with one of {', '.join(ports)}",
        found="no from:, and several graph inputs", cure=f"add from: {next(iter(ports), 'input_ids')}",
    )  # fmt: skip


def _unknown_port(block: Block, port: str) -> Fault:
    return Fault(
        code="FX0305", field=f"from.{port}", on_key=True, message=f"{block.kind} has no such port",
        expected=f"one of {', '.join(block.inputs)}", found=port,
        cure=f"write {nearest(port, list(block.inputs)) or 'one of them'}",
    )  # fmt: skip


def _in_scope(blocks: Mapping[str, Block], ports: Sequence[str]) -> str:
    inputs = f" or the {'inputs' if len(ports) > 1 else 'input'} {', '.join(ports)}" if ports else ""
    return f"one of the blocks {', '.join(blocks)}{inputs}"


def no_such_layer(source: Source, count: int, *, field: str) -> Fault:
    """An index of a ``layers`` port that has ``count`` of them."""
    return Fault(
        code="FX0301", field=field, message=f"{source.name} has no such layer", found=str(source.index),
        expected=f"an index from {-count} to {count - 1}", cure=f"write {source.name}.{source.port}[-1]",
    )  # fmt: skip
