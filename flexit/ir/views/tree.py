"""The blocks of a spec as an indented tree: shapes, parameters, what was written, and as comments what was inferred."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from flexit.ir.analysis.cost import Cost, cost
from flexit.ir.analysis.measure import Measures
from flexit.ir.block import Block, Surroundings, TokenTable
from flexit.ir.compile import compile_spec
from flexit.ir.expansion.expand import output_edges
from flexit.ir.expansion.scope import resolve
from flexit.ir.io.flow import flow
from flexit.ir.language.layers import LayerPlan, Template, as_written
from flexit.ir.program import Call, Program, Region, Value, join
from flexit.ir.spec import Spec, walk_blocks

SHOWN_LAYERS = 4
"""How many ranges of layer numbers a heading lists."""


def tree(spec: Spec, program: Program | None = None) -> str:
    """The blocks of a valid spec as text.

    Args:
        spec: what to show.
        program: its program, if it is there already.
    """
    program = program or compile_spec(spec)
    grower = _Grower(spec, program)
    return "\n".join([*summary(program, cost(program)), "", *grower.interface(), *grower.document()]) + "\n"


def summary(program: Program, needs: Cost) -> list[str]:
    """The figures of a model in a few lines."""
    active = "" if needs.active == needs.parameters else f", {short(needs.active)} active per token"
    lengths = ", ".join(f"{name} {size}" for name, size in needs.lengths.items() if _is_new(program, name))
    lines = [
        f"{program.name}: {short(needs.parameters)} parameters ({needs.parameters:,}){active}",
        f"weights {size(needs.weights['fp32'])} in fp32, {size(needs.weights['fp16'])} in fp16",
        f"one forward {short(needs.flops, space=True)}FLOP at {lengths}",
    ]
    if program.decoded is not None:
        growth = (
            f"decoding state {size(needs.cache_per_token)} per token" if needs.cache_per_token else "decoding state"
        )
        lines.append(f"{growth}, {size(needs.cache)} at these lengths, in fp32")
    else:
        lines.append(f"no step-by-step decoding: {program.why_not_decoded}")
    return lines


def short(count: int, *, space: bool = False) -> str:
    """A count with three digits and a unit: ``124M``, or with a space ``124 M``."""
    value, units = float(count), iter(("", "k", "M", "G", "T", "P", "E"))
    unit = next(units)
    while value >= 999.5 and unit != "E":
        value, unit = value / 1000, next(units)
    digits = 0 if value >= 99.95 or not unit else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{' ' if space else ''}{unit}"


def size(count: int) -> str:
    """Bytes with a unit: ``475 MiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def ranges(indices: Sequence[int]) -> str:
    """``0-3, 5`` for layer numbers; the rest of a long list as a count."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:SHOWN_LAYERS]]
    more = sum(last - first + 1 for first, last in runs[SHOWN_LAYERS:])
    return ", ".join(shown) + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class _At:
    """Where a block stands: its path in the program, the indent of its line, and the ports it is given."""

    path: str
    indent: int
    ports: tuple[str, ...] = ("x",)

    def below(self, name: str) -> _At:
        return replace(self, path=join(self.path, name), indent=self.indent + 1)


class _Grower:
    def __init__(self, spec: Spec, program: Program) -> None:
        self.spec = spec
        self.root = program.root
        self.program = program
        self.measures = Measures({"batch": 1} | dict.fromkeys(_symbols(program), 1), None)
        found = ((path, block.token_table()) for path, block in walk_blocks(spec.blocks) if block.shares is None)
        self.tables: dict[str, TokenTable] = {path: table for path, table in found if table is not None}

    def interface(self) -> Iterator[str]:
        """Graph inputs and outputs."""
        for name in self.program.inputs:
            yield f"input  {name.name}: {name.value.type}{'  # optional' if name.optional else ''}"
        written = "" if self.spec.outputs else "  # the last block"
        edges = {name: f" from {edge}" for name, edge in output_edges(self.spec).items()} if self.spec.outputs else {}
        for name, value in self.program.outputs.items():
            yield f"output {name}: {value.type}{edges.get(name, '')}{written}"
        yield ""

    def document(self) -> Iterator[str]:
        """The blocks."""
        yield from self._scope(self.spec.blocks, tuple(self.spec.inputs), _At("", 0))

    def _scope(self, blocks: Mapping[str, Block], ports: tuple[str, ...], at: _At) -> Iterator[str]:
        chain = (ports[0] if len(ports) == 1 else None) if not at.path else "x"
        wires = resolve(blocks, ports, chain_from=chain).wires
        for name, block in blocks.items():
            sources = [str(source) for edges in wires.get(name, {}).values() for source in edges]
            note = f"  <- {', '.join(dict.fromkeys(sources))}" if sources else ""
            yield from self._block(block, name, replace(at, path=join(at.path, name), ports=("x",)), note=note)

    def _block(self, block: Block, label: str, at: _At, *, note: str = "", each: str = "") -> Iterator[str]:
        left = f"{'  ' * at.indent}{label}: {block.kind}{note}"
        value = mark(self.root, at.path)
        shape = "" if value is None else f"[{', '.join(map(str, value.dims))}]"
        count = parameters(self.measures, self.root, at.path)
        right = f"{shape:<28} {short(count) if count else '':>6}{each if count else ''}"
        yield f"{left:<58}  {right}".rstrip()
        yield from self._fields(block, at)

    def _fields(self, block: Block, at: _At) -> Iterator[str]:
        inside = "  " * (at.indent + 1)
        nested: list[tuple[str, Block]] = []
        for name, entry in type(block).model_fields.items():
            value = getattr(block, name)
            if name == "wired" or name not in block.model_fields_set or isinstance(value, Template):
                continue
            if isinstance(value, Block) and type(value).region:
                nested.append((name, value))
            elif not _holds(value, Block) and not _holds(value, Template):
                yield f"{inside}{entry.alias or name}: {written(value)}"
        around = Surroundings(width=width(self.root, at.path), tables=self._near(at.path))
        for found in block.inferred(around):
            yield f"{inside}{f'{found.field}: {written(found.value)}':<22}  # {found.reason}"
        for name, inner in nested:
            yield from self._block(inner, name, at.below(name))
        yield from self._composite(block, at)

    def _composite(self, block: Block, at: _At) -> Iterator[str]:
        ports = tuple(block.wired) if isinstance(block.wired, dict) else at.ports
        blocks = getattr(block, "blocks", None)
        if _holds(blocks, Block):
            assert isinstance(blocks, dict)
            yield from self._scope(cast("dict[str, Block]", blocks), ports, replace(at, indent=at.indent + 1))
        plan = getattr(block, "plan", None)
        if isinstance(plan, LayerPlan):
            users: dict[Any, list[int]] = {}
            for index, choice in enumerate(plan.choices):
                users.setdefault(choice, []).append(index)
            for choice, indices in users.items():
                names = f" ({', '.join(choice.names)})" if choice.names else ""
                label = f"layer{'s' if len(indices) > 1 else ''} {ranges(indices)}{names}"
                each = " each" if len(indices) > 1 else ""
                yield from self._block(
                    plan.layer(indices[0]), label, replace(at.below(f"layers.{indices[0]}"), ports=ports), each=each
                )

    def _near(self, path: str) -> dict[str, TokenTable]:
        """Token tables under the names by which a block at ``path`` may call them."""
        scope = path.rpartition(".")[0]
        near = {
            name[len(scope) + 1 :]: table
            for name, table in self.tables.items()
            if scope and name.startswith(f"{scope}.")
        }
        return near | self.tables


def mark(region: Region, path: str) -> Value | None:
    """The main result of the block at a path, as the region that holds the block sees it."""
    if path in region.marks:
        return region.marks[path]
    call, rest = _step(region, path, by_weights=False)
    return None if call is None else mark(call.region, rest)


def parameters(measures: Measures, region: Region, path: str) -> int:
    """Parameters below a path."""
    call, rest = _step(region, path, by_weights=True)
    if call is not None and rest:
        return parameters(measures, call.region, rest)
    own = sum(
        amount.parameters for name, amount in measures.params(region) if name == path or name.startswith(f"{path}.")
    )
    calls = {node.weights: node for node in region.nodes if isinstance(node, Call)}
    inside = (node for at, node in calls.items() if at == path or at.startswith(f"{path}."))
    return own + sum(measures.region(node.region).parameters for node in inside)


def width(region: Region, path: str) -> int:
    """Width of the input of the block at a path, as far as its parameters tell; 0 where they do not."""
    call, rest = _step(region, path, by_weights=True)
    if call is not None:
        return width(call.region, rest)
    return next((param.width for param in region.params if not path or param.path.startswith(f"{path}.")), 0)


def _step(region: Region, path: str, *, by_weights: bool) -> tuple[Call | None, str]:
    """The call that leads to a path, and the path inside it."""
    for node in region.nodes:
        if isinstance(node, Call):
            prefix = node.weights if by_weights else node.path
            if path == prefix or path.startswith(f"{prefix}."):
                return node, path[len(prefix) + 1 :]
    return None, path


def written(value: object) -> str:
    """A field's value in flow style, without what was left out."""
    return flow(as_written(value))


def _holds(value: object, kind: type) -> bool:
    """Whether a field is a mapping of blocks, or of templates, which have lines of their own."""
    return isinstance(value, dict) and any(
        isinstance(entry, kind) for entry in cast("dict[str, object]", value).values()
    )


def _symbols(program: Program) -> Iterator[str]:
    for group in program.groups:
        yield from (group.seq, group.total)


def _is_new(program: Program, name: str) -> bool:
    return name == "batch" or any(group.seq == name for group in program.groups)
