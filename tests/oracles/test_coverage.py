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
from flexit.ir.io.load import check_tree
from flexit.ir.language.annotations import Flag, GroupOf, KindOf, ListOf, MapOf, Number, Text, Unchecked, Words, fields
from flexit.ir.language.kinds import families
from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.runtime.proof.compare import relative_error
from tests.oracles import test_half_precision, test_initialisation, test_training
from tests.oracles.compared import CASES, batch, computed, defined, ours

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


@cache
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


@pytest.mark.slow
def test_every_kind_has_an_oracle():
    owners = {mapping.owner for ledger in ledgers().values() for mapping in ledger.mappings}
    assert [owner for owner, _ in kinds() if owner not in owners] == []


@pytest.mark.slow
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


@cache
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


def edited(data, path, change):
    """The text with one mapping of it changed."""
    copy = json.loads(json.dumps(data))
    at = copy
    for step in path:
        at = at[step]
    change(at)
    return copy


def changed(case, key, path):
    """Texts that differ from the case's in one field: without it, and with other values of it."""
    name = key[1]
    if not all_fields()[key].required:
        yield edited(case.spec, path, lambda mapping: mapping.pop(name))
    for value in other_values(written_at(case.spec, path)[name], all_fields()[key].type):
        yield edited(case.spec, path, lambda mapping, value=value: mapping.update({name: value}))


def written_at(data, path):
    for step in path:
        data = data[step]
    return data


def other_values(value, type_):
    """Values that a field may have instead of one."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1, 2 * value, value // 2)
    elif isinstance(value, float):
        yield from (value * 1.5, value / 2)
    elif isinstance(value, list):
        yield [2 * each if isinstance(each, int | float) else each for each in value][::-1]
    elif isinstance(value, dict):
        yield from nested(value)
    for option in type_.options:
        if isinstance(option, Words):
            yield from (word for word in option.words if word != value)
        if isinstance(option, KindOf):
            yield from (name for name in registry.names(registry_family(option), option.trait) if name != value)
    if type_.nullable and value is not None:
        yield None


def registry_family(option):
    return next(family for family in families() if family.family == option.trait.family)


def nested(value):
    """The mapping with one of its numbers changed, at any depth."""
    for inner, each in value.items():
        if isinstance(each, dict):
            yield from ({**value, inner: other} for other in nested(each))
        elif isinstance(each, int | float) and not isinstance(each, bool):
            yield {**value, inner: 2 * each}


def differs(case, data):
    """Whether the model of a legal text has other parameters than the case's, or other results on the same inputs."""
    expected, _, weights = computed(case)
    try:
        found, _, others = ours(data, batch(case), weights=weights)
    except (SpecError, IndexError, RuntimeError):
        return False  # not legal, or not on these inputs: nothing is shown
    shapes = [{path: array.shape for path, array in each.items()} for each in (weights, others)]
    if shapes[0] != shapes[1] or list(found) != list(expected):
        return True
    if any(found[name].shape != expected[name].shape for name in found):
        return True
    masks = {name: mask for name, (_, mask) in defined(case)[0].items()}
    return any(relative_error(found[name], array, masks[name]) > 1e-4 for name, array in expected.items())


STRUCTURE = {
    ("Input.sequence", "width"), ("Input.sequence", "like"), ("Input.tokens", "like"), ("Input.vector", "width"),
    ("Block.stack", "layers"), ("Block.embedding", "tied_to"), ("Block.upsample", "factor"),
}  # fmt: skip
"""Fields of which no other value fits the rest of any case: without them a case is refused, or has other inputs."""
IN_TRAINING = {("Block.dropout", "p")}
"""Fields with an effect in training alone, which ``test_training.py`` shows."""


def is_refused(data):
    return not check_tree(Node.of(data)).valid


@pytest.mark.slow
def test_every_field_matters_in_some_case():
    indifferent = {
        key
        for key, cases in written_fields().items()
        if not any(differs(case, data) for case, path in cases for data in changed(case, key, path))
    }
    assert indifferent == STRUCTURE | IN_TRAINING
    for key in STRUCTURE:
        assert any(
            is_refused(data) or declared(data) != declared(case.spec)
            for case, path in written_fields()[key]
            for data in changed(case, key, path)
        ), key
    assert {(case.owner, case.key) for case in test_training.CASES} >= IN_TRAINING


def declared(data):
    """The inputs and outputs that a legal text declares."""
    program = check_tree(Node.of(data)).program
    return [(entry.name, str(entry.type)) for entry in program.inputs], list(program.outputs)
