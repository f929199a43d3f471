"""Every kind and field of the language has an oracle, and every value that it can name.

What is covered follows from what runs: the definitions note each field they read, with its value, while they compute
the models of the cases. A field that they never read, or never with some word that it takes, fails here.
"""

import json
from collections import defaultdict
from functools import cache

import pytest

from flexit.errors import SpecError
from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.language.annotations import Flag, GroupOf, KindOf, ListOf, MapOf, Number, Text, Unchecked, Words, fields
from flexit.ir.language.kinds import families
from flexit.ir.spec import Spec
from flexit.runtime.proof.compare import relative_error
from tests.oracles import test_half_precision, test_initialisation, test_training
from tests.oracles.compared import CASES, batch, defined, ours

EVERY_BLOCK = ("from", "shares", "init")
NOT_NUMERIC = {("Spec", "flexit"), ("Spec", "name"), ("Spec", "description"), ("Spec", "blocks")}
"""Fields that say nothing about numbers, and the map that holds everything else."""
REFUSED = {("Block.mla.rotary", "dim"), ("Block.mla.scores", "bias")}
"""Fields of a group that the kind around it refuses."""


# ---- what there is


def kinds():
    """(owner, class) of every built-in kind."""
    for family in families():
        for name in registry.names(family):
            cls = registry.find(family, name)
            if ":" not in name and cls is not None and cls.__module__.startswith("flexit.ir."):
                yield f"{family.family}.{name}", cls


def all_fields():
    """(owner, field) of everything a user may write, groups entered."""
    found = {("Spec", entry.name): entry for entry in fields(Spec).values()}
    for owner, cls in kinds():
        found |= dict(below(owner, cls))
    return {key: entry for key, entry in found.items() if key not in NOT_NUMERIC | REFUSED}


def below(owner, cls):
    for entry in fields(cls).values():
        if issubclass(cls, Block) and entry.name in EVERY_BLOCK:
            yield ("Block", entry.name), entry
            continue
        yield (owner, entry.name), entry
        for option in entry.type.options:
            if isinstance(option, GroupOf):
                yield from below(f"{owner}.{entry.name}", option.cls)


# ---- what was read


@cache
def ledgers():
    """Of every case by name, and of the tests that say themselves what they read."""
    return {case.name: defined(case)[1].ledger for case in CASES} | {"first values": test_initialisation.ledger()}


@cache
def claimed():
    """(owner, field) -> values that some oracle read, and the fields that some text wrote."""
    values, written = defaultdict(list), set()
    for ledger in ledgers().values():
        written |= ledger.written
        for key, known in ledger.values.items():
            values[key] += [value for value in known if value not in values[key]]
    for case in test_training.CASES:
        values[case.owner, case.key] += [case.block.get(case.key, test_training.P)]
        written.add((case.owner, case.key))
    for key, known in test_half_precision.FIELDS.items():
        values[key] += known
        written.add(key)
    return dict(values), written


def unspoken(option, values, *, written):
    """What an alternative of a field's type allows and no oracle has read."""
    match option:
        case Words():
            flat = [word for value in values for word in (value if isinstance(value, list) else [value])]
            return [f"the word {word}" for word in option.words if word not in flat]
        case Flag():
            return [str(flag).lower() for flag in (True, False) if not any(value is flag for value in values)]
        case Number():
            numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
            return [] if numbers and written else ["a number"]
        case KindOf():
            return [] if any(isinstance(value, str | dict) for value in values) else ["a kind"]
        case GroupOf() | MapOf():
            return [] if any(isinstance(value, dict) for value in values) else ["a mapping"]
        case Text() | Unchecked():
            return [] if any(isinstance(value, str | list | dict) for value in values) else ["a text"]
        case ListOf():
            lists = [value for value in values if isinstance(value, list)]
            inner = [entry for value in lists for entry in value]
            return ["a list"] if not lists else [
                gap for each in option.item.options for gap in unspoken(each, inner, written=written)
            ]  # fmt: skip
    raise TypeError(f"what does {option} allow?")


def test_every_kind_has_an_oracle():
    owners = {mapping.owner for ledger in ledgers().values() for mapping in ledger.mappings}
    assert [owner for owner, _ in kinds() if owner not in owners] == []


def test_every_field_has_an_oracle():
    values, written = claimed()
    gaps = []
    for key, entry in all_fields().items():
        known, name = values.get(key, []), ".".join(key)
        gaps += [f"{name}: null" for _ in range(1) if entry.type.nullable and not any(v is None for v in known)]
        for option in entry.type.options:
            gaps += [f"{name}: {gap}" for gap in unspoken(option, known, written=key in written)]
    assert gaps == []


def test_oracles_read_nothing_else():
    known = {*all_fields(), *NOT_NUMERIC, *REFUSED}
    assert [key for key in claimed()[0] if key not in known] == []


# ---- whether it matters


def places(data, path=()):
    """Every mapping of a text with the keys that lead to it."""
    if isinstance(data, dict):
        yield data, path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*path, key))


def written_fields():
    """(owner, field) -> the cases that write it, with the place of the mapping in their text."""
    found = defaultdict(list)
    for case in CASES:
        where = {id(mapping): path for mapping, path in places(case.spec)}
        for mapping in defined(case)[1].ledger.mappings:
            if id(mapping.source) in where:
                for key in mapping.data:
                    found[mapping.owner, key].append((case, where[id(mapping.source)]))
    known = all_fields()
    return {key: cases for key, cases in found.items() if key in known and key[1] not in EVERY_BLOCK and choosable(key)}


def choosable(key):
    """Whether the field can say more than one thing."""
    type_ = all_fields()[key].type
    options = type_.options
    return type_.nullable or not (len(options) == 1 and isinstance(options[0], Words) and len(options[0].words) == 1)


def without(data, path, key):
    """The text with one key taken out."""
    copy = json.loads(json.dumps(data))
    at = copy
    for step in path:
        at = at[step]
    del at[key]
    return copy


def differs(case, data):
    """Whether the text is refused, or its model gives other results than the case's on the same inputs."""
    given = batch(case)
    try:
        expected, _, weights = ours(case.spec, given)
        found, _, _ = ours(data, given, weights=weights)
    except SpecError:
        return True
    if list(found) != list(expected) or any(found[name].shape != expected[name].shape for name in found):
        return True
    masks = {name: mask for name, (_, mask) in defined(case)[0].items()}
    return any(relative_error(found[name], array, masks[name]) > 1e-4 for name, array in expected.items())


@pytest.mark.slow
def test_every_field_matters_in_some_case():
    indifferent = [
        ".".join(key)
        for key, cases in written_fields().items()
        if not any(differs(case, without(case.spec, path, key[1])) for case, path in cases)
    ]
    assert indifferent == []
