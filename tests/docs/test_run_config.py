"""The tables of ``docs/run-config.md`` are the fields of the run config, their defaults and their ranges."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flexit.ir import registry
from flexit.ir.io.load import load_spec
from flexit.ir.language.annotations import (
    Entry,
    FieldType,
    Flag,
    GroupOf,
    KindOf,
    ListOf,
    MapOf,
    Number,
    Text,
    Words,
    fields,
)
from flexit.ir.language.describe import bounds
from flexit.ir.language.kinds import Group, Kind
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.data.tokenizers.bpe import Bpe
from flexit.runtime.train.read import parse_config

PAGE = (Path(__file__).parents[2] / "docs" / "run-config.md").read_text(encoding="utf-8")
Row = tuple[str, str]


def tables() -> dict[str, dict[str, Row]]:
    """Bold name -> field -> its type and default, as the page gives them."""
    found: dict[str, dict[str, Row]] = {}
    rows: dict[str, Row] = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) != 5:
            continue
        if bold := re.fullmatch(r"\*\*(\w+)\*\*", cells[0]):
            rows = found.setdefault(bold[1], {})
        elif field := re.fullmatch(r"`(\w+)`", cells[0]):
            rows[field[1]] = (cells[1], cells[2])
    return found


def documented() -> dict[str, type[Group]]:
    """The class behind every bold name of the page: whatever a run config may hold, and what these may hold."""
    known: dict[str, type[Group]] = {"document": RunConfig}
    waiting: list[type[Group]] = [RunConfig]
    while waiting:
        for entry in fields(waiting.pop()).values():
            for cls in below(entry.type):
                name = cls.kind if issubclass(cls, Kind) else cls.__name__
                assert known.setdefault(name, cls) is cls, f"two classes are called {name}"
                waiting.append(cls)
    return known


def below(type_: FieldType) -> Iterator[type[Group]]:
    """The groups and kinds that a value of a type may be or hold."""
    for option in type_.options:
        match option:
            case GroupOf(cls=cls):
                yield cls
            case KindOf(trait=family):
                yield from (cls for name in registry.names(family) if (cls := registry.find(family, name)))
            case ListOf(item=item) | MapOf(value=item):
                yield from below(item)
            case _:
                pass


def typed(type_: FieldType) -> str:
    """A type in the words of the page."""
    words = [_option(option) for option in type_.options]
    return " or ".join([*words, *(["null"] if type_.nullable else [])])


def _option(option: Any) -> str:
    match option:
        case Number():
            return f"{'int' if option.integer else 'number'}{bounds(option)}"
        case Words(words=words):
            return f"one of {words[0]}" if words == (1,) else ", ".join(map(str, words))
        case GroupOf(cls=cls):
            return cls.__name__
        case KindOf(trait=trait):
            return trait.__name__
        case ListOf(item=item):
            return f"list of {typed(item)}"
        case MapOf(value=value):
            return f"mapping to {typed(value)}"
        case Text():
            return "text"
        case Flag():
            return "bool"
    raise AssertionError(option)


def default(entry: Entry, written: str) -> bool:
    """Whether the page gives the default of a field."""
    if entry.required or entry.inferred:
        return written == ("required" if entry.required else "inferred")
    value = entry.default
    plain = value.kind if isinstance(value, Kind) else {} if isinstance(value, Group) else value
    if isinstance(plain, str):
        return written.strip("`").replace("\\|", "|") == plain
    return YAML(typ="safe").load(written.strip("`")) == plain


def test_every_class_has_its_table_and_no_table_is_left_over():
    assert set(tables()) == set(documented())


def test_every_field_is_there_with_its_type_and_default():
    page = tables()
    for name, cls in documented().items():
        known = fields(cls)
        assert list(page[name]) == list(known), name
        for field, entry in known.items():
            type_, written = page[name][field]
            assert type_ == typed(entry.type), f"{name}.{field}"
            assert default(entry, written), f"{name}.{field}: {written} is not {entry.default!r}"


def test_the_examples_of_the_page_are_valid():
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for text in examples:
        chosen, _ = parse_config(text)
        spec = load_spec(chosen.model)
        rows = {table.rows for block in spec.blocks.values() if (table := block.token_table()) is not None}
        assert isinstance(chosen.data.tokenizer, Bpe)
        assert rows == {chosen.data.tokenizer.vocab_size}
