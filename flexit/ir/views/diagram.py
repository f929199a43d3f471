"""The graph of blocks as a picture in text: Mermaid for pages, DOT for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from flexit.ir.block import Block
from flexit.ir.expansion.scope import Source, resolve
from flexit.ir.io.canonical import outputs_of
from flexit.ir.language.layers import LayerPlan
from flexit.ir.program import Program, join
from flexit.ir.spec import Spec
from flexit.ir.views.tree import mark, ranges


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, with the port where it is not the only one."""

    source: str
    target: str
    label: str = ""


@dataclass(slots=True)
class Box:
    """A block, an input or an output; with boxes inside it is a frame around them.

    Attributes:
        path: that of the block, or a name that no block can have.
        lines: what stands in it.
        role: ``input``, ``output`` or ``block``.
    """

    path: str
    lines: list[str]
    role: str = "block"
    inside: list[Box] = field(default_factory=list["Box"])


@dataclass(slots=True)
class Diagram:
    """Boxes, frames and arrows."""

    boxes: list[Box]
    arrows: list[Arrow]


def diagram(spec: Spec, program: Program) -> Diagram:
    """The blocks of a valid spec with their shapes; composites are frames, the layers of a stack one line each."""
    drawing = _Drawing(program)
    shapes = {entry.name: entry.value for entry in program.inputs}
    for name, entry in spec.inputs.items():
        dims = ", ".join(map(str, shapes[name].dims)) if name in shapes else ""
        drawing.boxes.append(Box(f"<in>.{name}", [name, f"{entry.kind} [{dims}]"], "input"))
    blocks = drawing.scope(spec.blocks, {name: f"<in>.{name}" for name in spec.inputs}, "")
    ends = {box.path: _end(box) for box in blocks}
    drawing.boxes += blocks
    for name, edge in outputs_of(spec).items():
        block, _, port = edge.partition(".")
        drawing.arrows.append(Arrow(ends[block], f"<out>.{name}", port))
        drawing.boxes.append(Box(f"<out>.{name}", [name], "output"))
    return Diagram(drawing.boxes, drawing.arrows)


class _Drawing:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []

    def scope(self, blocks: Mapping[str, Block], outer: Mapping[str, str], path: str) -> list[Box]:
        """The boxes of a scope; their arrows are added to the picture.

        Args:
            blocks: its blocks by name.
            outer: path of the box behind each name that its blocks may read from outside.
            path: of the scope.
        """
        chain = "x" if path else next(iter(outer)) if len(outer) == 1 else None
        wires = resolve(blocks, tuple(outer), chain_from=chain).wires
        boxes = {
            name: self._box(block, name, join(path, name), ports=tuple(wires[name])) for name, block in blocks.items()
        }
        for name, box in boxes.items():
            for port, sources in wires[name].items():
                target = f"{box.path}.<{port}>" if box.inside else box.path
                shown = "" if len(wires[name]) == 1 or box.inside else port
                for source in sources:
                    start = outer[source.name] if source.name in outer else _end(boxes[source.name])
                    self.arrows.append(Arrow(start, target, ", ".join(filter(None, (_taken(source), shown)))))
        return list(boxes.values())

    def _box(self, block: Block, name: str, path: str, *, ports: tuple[str, ...]) -> Box:
        box = Box(path, list(self._lines(block, name, path)))
        inner = getattr(block, "blocks", None)
        if isinstance(inner, dict):
            box.inside += [Box(f"{path}.<{port}>", [port], "input") for port in ports]
            entries = {port: f"{path}.<{port}>" for port in ports}
            box.inside += self.scope(cast("dict[str, Block]", inner), entries, path)
        return box

    def _lines(self, block: Block, name: str, path: str) -> Iterator[str]:
        value = mark(self.program.root, path)
        shape = "" if value is None else f" [{', '.join(map(str, value.dims))}]"
        yield name
        yield f"{block.kind}{shape}"
        if block.shares is not None:
            yield f"parameters of {block.shares}"
        plan = getattr(block, "plan", None)
        if isinstance(plan, LayerPlan):
            yield from _layers(plan)


def _end(box: Box) -> str:
    """The box whose arrows leave a block: of a frame its last box."""
    return _end(box.inside[-1]) if box.inside else box.path


def _taken(source: Source) -> str:
    """What of a block an arrow carries, where it is not its main output."""
    if source.each is not None:
        return "layer by layer" if source.each == "same" else "layer by layer, reversed"
    return str(source).partition(".")[2]


def _layers(plan: LayerPlan) -> Iterator[str]:
    for choice, block, _ in plan.distinct():
        indices = [index for index, used in enumerate(plan.choices) if used == choice]
        names = f" ({', '.join(choice.names)})" if choice.names else ""
        yield f"layer{'s' if len(indices) > 1 else ''} {ranges(indices)}{names}: {block.kind}"


# ---- notations


def mermaid(drawn: Diagram) -> str:
    """A Mermaid flowchart, which GitHub and many editors draw."""
    ids = _identifiers(drawn)
    lines = ["flowchart TD"]

    def write(box: Box, depth: int) -> None:
        pad = "  " * depth
        text = "<br/>".join(box.lines)
        if box.inside:
            lines.append(f'{pad}subgraph {ids[box.path]}["{text}"]')
            for inner in box.inside:
                write(inner, depth + 1)
            lines.append(f"{pad}end")
            return
        left, right = ("[", "]") if box.role == "block" else ("([", "])")
        lines.append(f'{pad}{ids[box.path]}{left}"{text}"{right}')

    for box in drawn.boxes:
        write(box, 1)
    for arrow in drawn.arrows:
        label = f'|"{arrow.label}"|' if arrow.label else ""
        lines.append(f"  {ids[arrow.source]} -->{label} {ids[arrow.target]}")
    return "\n".join(lines)


def dot(drawn: Diagram) -> str:
    """A Graphviz graph: ``flexit show SPEC --dot | dot -Tsvg > model.svg``."""
    ids = _identifiers(drawn)
    lines = ["digraph model {", "  rankdir=TB; compound=true;", '  node [shape=box, fontname="Helvetica"];']

    def write(box: Box, depth: int) -> None:
        pad = "  " * depth
        text = "\\n".join(box.lines)
        if box.inside:
            lines.append(f"{pad}subgraph cluster_{ids[box.path]} {{")
            lines.append(f'{pad}  label="{text}"; fontname="Helvetica";')
            for inner in box.inside:
                write(inner, depth + 1)
            lines.append(f"{pad}}}")
            return
        style = "" if box.role == "block" else ", shape=oval"
        lines.append(f'{pad}{ids[box.path]} [label="{text}"{style}];')

    for box in drawn.boxes:
        write(box, 1)
    for arrow in drawn.arrows:
        label = f' [label="{arrow.label}", fontname="Helvetica"]' if arrow.label else ""
        lines.append(f"  {ids[arrow.source]} -> {ids[arrow.target]}{label};")
    return "\n".join([*lines, "}"])


def _identifiers(drawn: Diagram) -> dict[str, str]:
    """Made-up names; those of the spec may be words of the notation (``end``)."""
    found: dict[str, str] = {}

    def number(boxes: list[Box]) -> None:
        for box in boxes:
            found[box.path] = f"b{len(found)}"
            number(box.inside)

    number(drawn.boxes)
    return found
