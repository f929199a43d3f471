"""No accepted field is idle: another legal value changes what is computed, how it is trained, or its first values."""

import copy
import random
from functools import cache

import numpy as np
import pytest

from flexit.ir.analysis.structure import structure
from flexit.ir.io.canonical import canonical, program_hash, spec_hash
from flexit.ir.language.annotations import FieldType
from flexit.lower.torch.initialise import initial_values
from tests.fuzz.damage import entries, mappings
from tests.fuzz.drawing import Drawing
from tests.fuzz.sample import DOCUMENT, MANY, accepted, check, checked, drawn, shown

CARRIED = ("name", "description")
"""Fields that say nothing about the model."""
ENOUGH, DRAWS = 2, 12
"""Of a field: values that differ from the document's, where one of them had an effect, and where none had."""


def variations(seed):
    """(class and field, document) for one new value of each field of each mapping."""
    rng = random.Random(seed)
    data = drawn(seed)
    for index, (mapping, type_) in enumerate(mappings(data, DOCUMENT)):
        for name, entry in entries(mapping, type_).items():
            if name in ("from", "shares", "blocks", "inputs", "outputs", "flexit", "like", "tied_to", *CARRIED):
                continue  # wiring: its effect is what the tests of legality are about
            yield (_owner(mapping, type_), name), index, entry, rng


def _owner(mapping, type_: FieldType):
    if "kind" in mapping:
        return mapping["kind"]
    return next((option.cls.__name__ for option in type_.options if hasattr(option, "cls")), "")


def changed(seed, index, entry, rng):
    """The document with another value in one place, if it is accepted and says something else."""
    data = copy.deepcopy(drawn(seed))
    mapping, _ = list(mappings(data, DOCUMENT))[index]
    mapping[entry.name] = Drawing(rng, rng.choice((4, 8, 16))).field(entry)
    result = check(data)
    return (data, result) if result.valid else (data, None)


@cache
def program_of(seed):
    """Identity of the program of a document."""
    return program_hash(checked(seed).spec)


def effect(seed, after):
    """What differs between two accepted documents."""
    if program_of(seed) != program_hash(after.spec):
        return "program"
    before = checked(seed)
    if structure(before.program.root, training=True) != structure(after.program.root, training=True):
        return "training"
    values = [initial_values(one.spec, one.program, seed=0) for one in (before, after)]
    if any(not np.array_equal(np.asarray(values[0][name]), np.asarray(value)) for name, value in values[1].items()):
        return "initial values"
    return ""


@pytest.mark.nightly
def test_every_field_has_an_effect():
    """A draw may say the same in other words (``bias: {}``, the value that is inferred anyway), which is no effect;
    such draws are few, and no field has only such.
    """
    effects: dict[tuple[str, str], list[str]] = {}
    for seed in accepted(MANY[:250]):
        before = checked(seed)
        for key, index, entry, rng in variations(seed):
            known = effects.get(key, [])
            if len(known) >= (ENOUGH if any(known) else DRAWS):
                continue
            data, after = changed(seed, index, entry, rng)
            if after is None or canonical(after.spec) == canonical(before.spec):
                continue
            assert spec_hash(after.spec) != spec_hash(before.spec), shown(seed, data, key)
            effects.setdefault(key, []).append(effect(seed, after))
    idle = sorted(key for key, found in effects.items() if not any(found) and len(found) > DRAWS // 3)
    assert idle == []
    every = [found for several in effects.values() for found in several]
    assert every.count("") <= 0.1 * len(every)
    assert len(effects) >= 120
    assert {"program", "training", "initial values"} <= set(every)
