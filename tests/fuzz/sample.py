"""The documents that the tests go through: how many and from which seed, and what flexit says of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from flexit.ir.io.load import Checked, check_tree
from flexit.ir.language.annotations import FieldType, GroupOf, KindOf, ListOf, MapOf, Option, fields
from flexit.ir.language.kinds import Group, Kind, families
from flexit.ir.language.written import Node
from flexit.ir.registry import find, names
from flexit.ir.spec import Spec
from tests.fuzz.drawing import Data
from tests.fuzz.generator import document

SEED = int(os.environ.get("FLEXIT_FUZZ_SEED", "0"))
COUNT = int(os.environ.get("FLEXIT_FUZZ_DOCUMENTS", "600"))
"""For a long run: ``FLEXIT_FUZZ_DOCUMENTS=20000 FLEXIT_FUZZ_SEED=1000000 pytest tests/fuzz``."""
FEW = range(SEED, SEED + 40)
MANY = range(SEED, SEED + COUNT)
DOCUMENT = FieldType((GroupOf(Spec),))


@cache
def drawn(seed: int) -> Data:
    """The document of a seed; not to be changed."""
    return document(seed)


@cache
def checked(seed: int) -> Checked:
    """What flexit says of it."""
    return check(drawn(seed))


def check(data: Data) -> Checked:
    return check_tree(Node.of(data))


def accepted(seeds: range) -> Iterator[int]:
    """Seeds of documents that flexit accepts."""
    return (seed for seed in seeds if checked(seed).valid)


def codes(result: Checked) -> set[str]:
    return {problem.code for problem in result.problems if not problem.warning}


def as_yaml(data: Data) -> str:
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False
    yaml.default_flow_style = False
    yaml.dump(data, stream)
    return stream.getvalue()


def shown(seed: int, data: Data, what: object) -> str:
    """A failure with everything needed to see it again."""
    return f"seed {seed}: {what}\n{as_yaml(data)}"


def spec_families() -> list[type[Kind]]:
    """The families that a spec can name; those of run configs are registered in the same way."""
    found: dict[str, type[Kind]] = {}
    seen: set[type[Group]] = set()
    waiting: list[type[Group]] = [Spec]
    while waiting:
        cls = waiting.pop()
        if cls in seen:
            continue
        seen.add(cls)
        for option in (option for entry in fields(cls).values() for option in _leaves(entry.type)):
            if isinstance(option, GroupOf):
                waiting.append(option.cls)
            elif isinstance(option, KindOf):
                family = next(one for one in families() if issubclass(option.trait, one))
                found[family.family] = family
                kinds = (find(family, kind) for kind in names(family))
                waiting += [kind for kind in kinds if kind is not None]
    return [found[name] for name in sorted(found)]


def _leaves(type_: FieldType) -> Iterator[Option]:
    for option in type_.options:
        if isinstance(option, ListOf | MapOf):
            yield from _leaves(option.item if isinstance(option, ListOf) else option.value)
        else:
            yield option
