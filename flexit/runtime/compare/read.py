"""From the text of a compare file to typed data, and what is wrong with it by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from flexit.errors import Problem, RunConfigError, SpecError
from flexit.ir.faults import in_order
from flexit.ir.io.languages import COMPARE, mistaken
from flexit.ir.io.migrate import migrate
from flexit.ir.io.overrides import parsed
from flexit.ir.io.source import read_bytes
from flexit.ir.io.yaml import read
from flexit.ir.language.annotations import FieldType, GroupOf
from flexit.ir.language.written import Node
from flexit.ir.schema.phase import explained
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest, several, shown
from flexit.runtime.compare.config import CompareConfig
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.read import fault

DOCUMENT = FieldType((GroupOf(CompareConfig),))
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+=,-]*")
LONGEST = 80
OWN = ("flexit", "model", "set", "seed", "out")
"""Keys of a run config that a compare file says itself."""
OF_SPEC = tuple(key for key in Spec.model_fields if key not in ("flexit", "name", "description"))
OF_RUN = tuple(key for key in RunConfig.model_fields if key not in OWN)


def read_compare(path: str | Path) -> tuple[CompareConfig, Node]:
    """The compare file in a file, and the tree it came from.

    Raises:
        RunConfigError: it is not valid; every problem of the phase that failed is in it.
    """
    try:
        data = read_bytes(Path(path))
    except SpecError as error:
        raise RunConfigError(error.problems) from None
    return parse_compare(data, str(path))


def parse_compare(data: str | bytes, file: str = "<text>") -> tuple[CompareConfig, Node]:
    """Like :func:`read_compare`, of a text."""
    try:
        root = read(data, file, wanted=COMPARE)
    except SpecError as error:
        raise RunConfigError(error.problems) from None
    current = mistaken(root, COMPARE) or migrate(root)
    if isinstance(current, Problem):
        raise RunConfigError([current])
    try:
        config = CompareConfig.model_validate(current.plain())
    except ValidationError as error:
        raise RunConfigError(in_order(explained(error, DOCUMENT, current))) from None
    problems = in_order(_faults(config, current))
    if problems:
        raise RunConfigError(problems)
    return config, current


def split_sets(sets: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of the spec, and overrides of the run config."""
    of_spec = [text for text in sets if _first(text) in OF_SPEC]
    return of_spec, [text for text in sets if _first(text) not in OF_SPEC]


def _first(text: str) -> str:
    return text.partition("=")[0].strip().partition(".")[0]


def _faults(config: CompareConfig, root: Node) -> Iterator[Problem]:
    yield from _sets(config.set, "set", root)
    for name, variant in config.variants.items():
        yield from _sets(variant.set, f"variants.{name}.set", root)
        if len(name) > LONGEST or not NAME.fullmatch(name) or name != name.strip(" ."):
            yield fault(
                root, "FX2301", "variants", message="no name for a variant", found=shown(name)[:LONGEST],
                expected=f"letters, numbers, spaces and . _ + = , - (at most {LONGEST}), first a letter or number",
                cure="rename it",
            )  # fmt: skip
    for place, values in config.grid.items():
        yield from _sets([f"{place}=0"], "grid", root)
        if not values or len({repr(value) for value in values}) < len(values):
            yield fault(
                root, "FX2301", "grid", message=f"{place} has {'no values' if not values else 'a value twice'}",
                expected="different values to try", found=shown(values), cure=f"write {place}: [...], each value once",
            )  # fmt: skip
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        yield fault(
            root, "FX2301", "seeds", message="no seed" if not config.seeds else "a seed stands twice",
            expected="different seeds", found=shown(config.seeds), cure="write seeds: [0, 1]",
        )  # fmt: skip


def _sets(sets: Sequence[str], path: str, root: Node) -> Iterator[Problem]:
    for text in sets:
        key = _first(text)
        if key in OF_SPEC or key in OF_RUN:
            try:
                parsed(text, cure="write it as steps=200 or blocks.decoder.n_layers=2")
            except SpecError as error:
                first = error.problems[0]
                yield fault(
                    root, "FX2301", path, message=f"an override that cannot be read: {first.message}",
                    expected=first.expected, found=first.found, cure=first.cure,
                )  # fmt: skip
            continue
        near = nearest(key, [*OF_SPEC, *OF_RUN])
        cure = _instead(key) if key in OWN else f"write {near}" if near else "correct the first key"
        yield fault(
            root, "FX2301", path, message="an override of neither the spec nor the run config", found=shown(text),
            expected=f"a place that begins with {several(OF_SPEC)}, or one of a run config, such as steps", cure=cure,
        )  # fmt: skip


def _instead(key: str) -> str:
    return {
        "model": "name the model of a variant as variants.NAME.model", "seed": "write it under seeds",
        "out": "write out of the compare file; runs lie in it", "set": "write the override itself, blocks....=...",
    }.get(key, "leave it out")  # fmt: skip
