"""Tables and pages of the commands: presets, costs, kinds, schemas."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from flexit.errors import UserError
from flexit.ir import registry
from flexit.ir.analysis.cost import BlockCost, Cost
from flexit.ir.block import Block, Port
from flexit.ir.io.reference import groups, kinds_of, own_families
from flexit.ir.language.annotations import Entry, GroupOf, as_slot
from flexit.ir.language.describe import describe, meant_kind
from flexit.ir.language.kinds import Group, Kind, families, field_docs
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.ir.views.difference import Difference
from flexit.ir.views.tree import short, size, summary, tree, written
from flexit.ir.wording import nearest, several, shown


def preset_rows() -> list[list[str]]:
    """Name, parameters and description of each preset."""
    from flexit.ir.analysis.cost import cost
    from flexit.ir.io.load import load_spec, presets

    rows = [["preset", "parameters", "description"]]
    for name in presets():
        spec = load_spec(name)
        rows.append([name, short(cost(spec).parameters), spec.description or ""])
    return rows


def shown_as(form: str, spec: Spec, program: Program) -> str:
    """A spec as a ``tree``, as its ``program``, or as a picture for ``mermaid`` or ``dot``."""
    from flexit.ir.views import diagram
    from flexit.ir.views.printer import show

    if form == "tree":
        return tree(spec, program).rstrip("\n")
    if form == "program":
        return show(program).rstrip("\n")
    notation = diagram.mermaid if form == "mermaid" else diagram.dot
    return notation(diagram.diagram(spec, program))


def difference_rows(found: Difference) -> list[list[str]]:
    """What differs: choices, then shapes, then figures."""
    rows = [["what", "first", "second"]]
    for title, changes in (("fields", found.fields), ("parameters", found.shapes), ("cost", found.costs)):
        if changes:
            rows += [["", "", ""], [f"{title}:", "", ""]]
            rows += [[f"  {change.path}", change.before, change.after] for change in changes]
    return rows


def difference_data(found: Difference) -> dict[str, Any]:
    """The same as data."""
    return asdict(found)


def cost_lines(program: Program, needs: Cost) -> list[str]:
    """The figures of a model, with memory."""
    weights = ", ".join(f"{size(count)} in {name}" for name, count in needs.weights.items() if name != "bf16")
    train, export = size(needs.training_peak), size(needs.export_peak)
    return [
        *(line for line in summary(program, needs) if not line.startswith("weights")),
        f"weights {weights}",
        f"memory about {train} to train in fp32 with AdamW, {export} to export with proof",
    ]


def cost_rows(needs: Cost) -> list[list[str]]:
    """Parameters and FLOPs by block; equal layers in one row."""
    rows = [["block", "count", "parameters", "active", "FLOPs"]]

    def add(block: BlockCost, depth: int, above: str) -> None:
        name = block.path.removeprefix(f"{above}.") if above else block.path
        count = f"x {block.count}" if block.count > 1 else ""
        flops = short(block.flops) if block.flops else ""
        rows.append([f"{'  ' * depth}{name}", count, f"{block.parameters:,}", f"{block.active:,}", flops])
        for child in block.children:
            add(child, depth + 1, block.path)

    for block in needs.blocks:
        add(block, 0, "")
    rows.append(["total", "", f"{needs.parameters:,}", f"{needs.active:,}", short(needs.flops)])
    return rows


def cost_data(needs: Cost) -> dict[str, Any]:
    """The figures as JSON data."""
    return asdict(needs)


def kind_rows() -> list[list[str]]:
    """Family, kind and summary of every kind, and of the groups of fields that kinds have."""
    rows = [["family", "kind", "summary"]]
    for family in _families():
        for kind in registry.names(family):
            cls = registry.find(family, kind)
            rows.append([family.family, kind, _first_line(cls)])
    return [*rows, *(["(group)", group.__name__, _first_line(group)] for group in groups())]


def explained(kind: str) -> Iterator[str]:
    """Every field of a kind: type, default and meaning.

    Raises:
        UserError: there is no such kind.
    """
    found = [cls for family in _families() if (cls := registry.find(family, kind)) is not None]
    called = {} if found else {group: places for group, places in groups().items() if _is_called(group, places, kind)}
    if not found and not called:
        raise _no_kind(kind)
    for index, (group, places) in enumerate(called.items()):
        if index:
            yield ""
        yield f"{group.__name__} (a group): {plain_text(inspect.cleandoc(group.__doc__ or ''))}"
        yield f"  stands in {several(places)}"
        yield ""
        yield from _fields(group, "  ")
    for index, cls in enumerate(found):
        if index:
            yield ""
        yield f"{kind} ({cls.family}): {plain_text(inspect.cleandoc(cls.__doc__ or ''))}"
        if cls.formula:
            yield from textwrap.wrap(cls.formula, 110, initial_indent="  ", subsequent_indent="    ")
        if cls.source:
            yield f"  source: {cls.source}"
        if issubclass(cls, Block):
            yield f"  reads {', '.join(_port(name, port) for name, port in cls.inputs.items())}"
        yield ""
        yield from _fields(cls, "  ")
        if cls.later:
            yield f"  not yet: {', '.join(cls.later)}"


def _is_called(group: type[Group], places: list[str], word: str) -> bool:
    """Whether a word is the name of a group, or of the field that takes it."""
    return word == group.__name__ or word in {place.rpartition(".")[2] for place in places}


def _no_kind(kind: str) -> UserError:
    """The error of a word that is the name of no kind and of no group."""
    if any(kind in registry.later(family) for family in _families()):
        return UserError.of(
            "FX0203", f"{kind} is not here yet", expected="a kind of this version of flexit", found=kind,
            cure="run flexit kinds for those that are", path=kind,
        )  # fmt: skip
    classes = [cls for family in own_families() for cls in kinds_of(family)]
    homes = [cls.kind for cls in sorted(classes, key=lambda cls: not cls.usual) if kind in as_slot(cls)]
    names = [*(cls.kind for cls in classes), *(group.__name__ for group in groups())]
    meant = next((found[0] for family in _families() if (found := meant_kind(kind, family)) is not None), None)
    near = meant or nearest(kind, names) or nearest(kind, [name for name in names if kind and kind in name])
    return UserError.of(
        "FX0203", "no such kind", expected="a kind or a group of fields", found=shown(kind), path=shown(kind),
        cure=f"run flexit kinds {homes[0]}, which has a field of this name" if homes
        else f"run flexit kinds {near}" if near else "run flexit kinds, which says what each of them is",
    )  # fmt: skip


def schema_text(which: str) -> str:
    """A JSON Schema as text.

    Raises:
        UserError: there is none of this name.
    """
    from flexit.ir.io.schema_export import schema_text as text_of
    from flexit.ir.spec import Spec
    from flexit.runtime.compare.config import CompareConfig
    from flexit.runtime.train.config import RunConfig

    languages: dict[str, tuple[type[Group], str]] = {
        "spec": (Spec, "flexit spec"),
        "run": (RunConfig, "flexit run config"),
        "compare": (CompareConfig, "flexit compare file"),
    }
    if which not in languages:
        near = nearest(which, list(languages))
        raise UserError.of(
            "FX1104", "no such schema", expected=f"one of {', '.join(languages)}", found=which,
            cure=f"write {near or 'spec'}", path=which,
        )  # fmt: skip
    cls, title = languages[which]
    return text_of(cls, title)


def _fields(cls: type[Group], indent: str) -> Iterator[str]:
    docs = field_docs(cls)
    for name, entry in as_slot(cls).items():
        yield f"{indent}{name}: {describe(entry.type)}; {_default(entry)}"
        yield f"{indent}    {plain_text(docs.get(entry.attribute, ''))}"
        for option in entry.type.options:
            if isinstance(option, GroupOf):
                yield from _fields(option.cls, indent + "    ")
                if option.cls.later:
                    yield f"{indent}    not yet: {', '.join(option.cls.later)}"


def plain_text(doc: str) -> str:
    """A docstring on one line, without the marks of code."""
    return " ".join(doc.replace("``", "").split())


def _families() -> list[type[Kind]]:
    """Every family, blocks first; importing all blocks brings the others in."""
    registry.names(Block)
    return sorted(families(), key=lambda family: (family is not Block, family.family))


def _port(name: str, port: Port) -> str:
    optional = ", optional" if port.optional else ""
    return f"{name} ({'a list of ' if port.variadic else ''}{' or '.join(port.types)}{optional})"


def _default(entry: Entry) -> str:
    if entry.required:
        return "required"
    return "inferred" if entry.inferred else f"default {written(entry.default)}"


def _first_line(cls: type[Group] | None) -> str:
    return plain_text(inspect.cleandoc((cls.__doc__ if cls else None) or "").partition("\n")[0])
