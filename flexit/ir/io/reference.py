"""The page of all kinds, made from their fields and docstrings; ``docs/kinds.md`` is it, and a test fails on drift."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

from flexit.ir import registry
from flexit.ir.block import Block, Port
from flexit.ir.language.annotations import Entry, FieldType, GroupOf, KindOf, Option, as_slot
from flexit.ir.language.describe import describe_option, family_name
from flexit.ir.language.kinds import Group, Kind, families, field_docs
from flexit.ir.views.tree import written
from flexit.ir.wording import either

HEAD = """\
# Kinds

Every kind and group of fields that this version has, by family, made from the code with
`pytest tests/docs/test_kinds.py --update-golden`. `language.md` says how they work together; `flexit kinds KIND` prints
one of them. A *trait* is a narrower family: `attention` takes a Mixer, which is a Block.

A default of *required* means that there is none, *inferred* that the value follows from elsewhere when it is left out.
Beside its own fields a block has `init`, and in an entry of a `blocks` map `from` and `shares`.
"""


def page() -> str:
    """The page as Markdown."""
    registry.names(Block)
    sections = [HEAD]
    groups: dict[str, type[Group]] = {}
    for family in sorted(families(), key=lambda family: (family is not Block, family.family)):
        if family.__module__.startswith("flexit.ir."):
            sections += _family(family)
            groups |= {group.__name__: group for kind in _kinds(family) for group in _groups(kind)}
    sections.append("## Groups\n\nMappings without a `kind`.\n")
    sections += [_section(group.__name__, group) for _, group in sorted(groups.items())]
    return "\n".join(sections)


def _family(family: type[Kind]) -> Iterator[str]:
    planned = registry.later(family)
    later = f"\nNot yet: {_code(planned)}.\n" if planned else ""
    yield f"## {family.family}\n\n{_doc(family)}\n{''.join(_traits(family))}{later}"
    yield from (_section(cls.kind, cls) for cls in _kinds(family))


def _traits(family: type[Kind]) -> Iterator[str]:
    for trait in sorted((cls for cls in family.__subclasses__() if not cls.kind), key=lambda cls: cls.__name__):
        yield f"\n{trait.__name__}: {_doc(trait)} Kinds: {_code(registry.names(trait))}.\n"


def _kinds(family: type[Kind]) -> list[type[Kind]]:
    found = (registry.find(family, kind) for kind in registry.names(family) if ":" not in kind)
    return [cls for cls in found if cls is not None]


def _groups(cls: type[Group]) -> Iterator[type[Group]]:
    for entry in as_slot(cls).values():
        for option in entry.type.options:
            if isinstance(option, GroupOf):
                yield option.cls
                yield from _groups(option.cls)


def _section(name: str, cls: type[Group]) -> str:
    lines = [f"### {name}", "", _doc(cls)]
    if issubclass(cls, Block):
        lines += ["", f"Reads {', '.join(_port(port, of) for port, of in cls.inputs.items())}{_result(cls)}"]
    docs = field_docs(cls)
    rows = [
        f"| `{name}` | {_type(entry.type)} | {_default(entry)} | {_inline(docs[entry.attribute])} |"
        for name, entry in as_slot(cls).items()
        if not (issubclass(cls, Block) and name == "init")
    ]
    if rows:
        lines += ["", "| field | type | default | meaning |", "|---|---|---|---|", *rows]
    if cls.later:
        lines += ["", f"Not yet: {_code(cls.later)}."]
    return "\n".join(lines) + "\n"


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


def _type(type_: FieldType) -> str:
    words = [_option(option) for option in type_.options]
    return either([*words, *(["null"] if type_.nullable else [])]).replace("|", "\\|")


def _option(option: Option) -> str:
    match option:
        case GroupOf(cls=cls):
            return _link(cls.__name__)
        case KindOf(trait=trait):
            return _link(family_name(trait), trait.family)
        case _:
            return describe_option(option)


def _link(name: str, target: str = "") -> str:
    return f"[{name}](#{(target or name).lower()})"


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
