"""The pages of all kinds, made from their fields and docstrings: ``docs/kinds.md`` and those that it leads to."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flexit.ir import registry
from flexit.ir.block import Block, Port
from flexit.ir.io.flow import flow
from flexit.ir.language.annotations import Entry, FieldType, GroupOf, KindOf, Option, as_slot
from flexit.ir.language.describe import describe_option, family_name
from flexit.ir.language.kinds import Group, Kind, families, field_docs
from flexit.ir.views.tree import written
from flexit.ir.wording import either

HEAD = """\
# Kinds

Every kind that this version has, by family, and the groups of fields that kinds share; made from the code with
`pytest tests/docs/test_kinds.py --update-golden`. Each kind has a page with its formula, fields and source, and a spec
that runs: save it as a file and try `flexit check`, `show` and `cost` on it. `language.md` says how they work together,
`flexit kinds KIND` prints one of them. A *trait* is a narrower family: `attention` takes a Mixer, a kind of Block.

A default of *required* means that there is none, *inferred* that the value follows from elsewhere when it is left out.
Beside its own fields a block has `init`, and in an entry of a `blocks` map `from` and `shares`.
"""
TO_INDEX = "../../kinds.md"


def index() -> str:
    """The page of all kinds as Markdown: ``docs/kinds.md``."""
    sections = [HEAD]
    sections += [_family(family) for family in own_families()]
    sections.append("## Groups\n\nMappings without a `kind`.\n")
    sections += [
        "\n".join([f"### {group.__name__}", "", _doc(group), *_fields(group, page="")]) + "\n" for group in groups()
    ]
    return "\n".join(sections)


def groups() -> dict[type[Group], list[str]]:
    """The groups of fields that kinds have, by name, each with its places: ``multi_head.rotary``, usual kinds first."""
    found: dict[type[Group], list[str]] = {}
    for family in own_families():
        for cls in sorted(kinds_of(family), key=lambda kind: not kind.usual):
            for group, place in _groups(cls, cls.kind):
                found.setdefault(group, []).append(place)
    return dict(sorted(found.items(), key=lambda item: item[0].__name__))


def kind_page(cls: type[Kind], document: Mapping[str, Any]) -> str:
    """The page of one kind as Markdown: ``docs/`` and what :func:`page_of` says.

    Args:
        cls: the kind.
        document: a whole spec that has it.
    """
    family = f"[{cls.family}]({TO_INDEX}#{cls.family.lower()})"
    lines = [f"# {cls.kind}", "", f"{_doc(cls)} A kind of {family}.", ""]
    lines += ["```", *textwrap.wrap(cls.formula, 110), "```", "", f"Source: {_inline(cls.source)}.", ""]
    if issubclass(cls, Block):
        lines += [f"Reads {', '.join(_port(port, of) for port, of in cls.inputs.items())}{_result(cls)}", ""]
    fields = list(_fields(cls, page=TO_INDEX))
    lines += ["## Fields", *(fields or ["", "None."]), "", "## Example", "", "```yaml", *_yaml(document), "```", ""]
    return "\n".join(lines)


def page_of(cls: type[Kind]) -> str:
    """Where the page of a kind is, below ``docs``."""
    return f"kinds/{cls.family.lower()}/{cls.kind}.md"


def own_families() -> list[type[Kind]]:
    """The families of flexit itself, blocks first."""
    registry.names(Block)  # imports every block, and with them the other families
    found = [family for family in families() if family.__module__.startswith("flexit.ir.")]
    return sorted(found, key=lambda family: (family is not Block, family.family))


def kinds_of(family: type[Kind]) -> list[type[Kind]]:
    """The kinds of a family that are not a plugin's."""
    found = (registry.find(family, kind) for kind in registry.names(family) if ":" not in kind)
    return [cls for cls in found if cls is not None]


def _yaml(document: Mapping[str, Any]) -> Iterator[str]:
    """A document with one line for each entry of its maps."""
    for key, value in document.items():
        if key in ("blocks", "inputs", "outputs", "init"):
            yield f"{key}:"
            yield from (f"  {name}: {flow(entry)}" for name, entry in value.items())
        else:
            yield f"{key}: {flow(value)}"


def _family(family: type[Kind]) -> str:
    planned = registry.later(family)
    lines = [f"## {family.family}", "", _doc(family), *_traits(family), "", "| kind | |", "|---|---|"]
    lines += [f"| [{cls.kind}]({page_of(cls)}) | {_doc(cls)} |" for cls in kinds_of(family)]
    return "\n".join([*lines, *(["", f"Not yet: {_code(planned)}."] if planned else [])]) + "\n"


def _traits(family: type[Kind]) -> Iterator[str]:
    for trait in sorted((cls for cls in family.__subclasses__() if not cls.kind), key=lambda cls: cls.__name__):
        yield f"\n{trait.__name__}: {_doc(trait)} Kinds: {_code(registry.names(trait))}."


def _groups(cls: type[Group], place: str) -> Iterator[tuple[type[Group], str]]:
    for name, entry in as_slot(cls).items():
        for option in entry.type.options:
            if isinstance(option, GroupOf):
                yield option.cls, f"{place}.{name}"
                yield from _groups(option.cls, f"{place}.{name}")


def _fields(cls: type[Group], *, page: str) -> Iterator[str]:
    """The table of its fields, links leading to ``page``, and what it has not yet."""
    docs = field_docs(cls)
    rows = [
        f"| `{name}` | {_type(entry.type, page)} | {_default(entry)} | {_inline(docs[entry.attribute])} |"
        for name, entry in as_slot(cls).items()
        if not (issubclass(cls, Block) and name == "init")
    ]
    if rows:
        yield from ("", "| field | type | default | meaning |", "|---|---|---|---|", *rows)
    if cls.later:
        yield from ("", f"Not yet: {_code(cls.later)}.")


def _port(name: str, port: Port) -> str:
    several = "a list of " if port.variadic else ""
    return f"`{name}` ({several}{either(list(port.types))}{', optional' if port.optional else ''})"


def _result(cls: type[Block]) -> str:
    more = f"the port {_code(cls.more_outputs)}" if cls.more_outputs else ""
    if cls.takes_extra_ports:
        return f" and any other port{f'; beside its main output it has {more}' if more else ''}."
    types = next(iter(cls.inputs.values())).types
    main = cls.output if cls.output != "same" else types[0] if len(types) == 1 else "the same"
    return f"; gives {main}{f' and {more}' if more else ''}."


def _type(type_: FieldType, page: str) -> str:
    words = [_option(option, page) for option in type_.options]
    return either([*words, *(["null"] if type_.nullable else [])]).replace("|", "\\|")


def _option(option: Option, page: str) -> str:
    match option:
        case GroupOf(cls=cls):
            return f"[{cls.__name__}]({page}#{cls.__name__.lower()})"
        case KindOf(trait=trait):
            return f"[{family_name(trait)}]({page}#{trait.family.lower()})"
        case _:
            return describe_option(option)


def _default(entry: Entry) -> str:
    if entry.required:
        return "required"
    return "inferred" if entry.inferred else f"`{written(entry.default)}`"


def _doc(cls: type) -> str:
    return _inline(inspect.getdoc(cls) or "")


def _inline(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
