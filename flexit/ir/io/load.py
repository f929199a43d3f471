"""From a file, a preset or a text to a spec that has passed every phase."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flexit.errors import Problem, SpecError
from flexit.ir.diagnostics import problem
from flexit.ir.faults import in_order, placed
from flexit.ir.io.languages import SPEC, mistaken
from flexit.ir.io.migrate import migrate
from flexit.ir.io.overrides import override
from flexit.ir.io.places import found_at, instead_of
from flexit.ir.io.source import MAX_BYTES, read_bytes, unusable
from flexit.ir.io.yaml import read
from flexit.ir.language.shared_fields import write_out
from flexit.ir.language.written import Node
from flexit.ir.schema.phase import validate
from flexit.ir.spec import Spec
from flexit.ir.wording import nearest, shown

if TYPE_CHECKING:
    from flexit.ir.program import Program


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a document.

    Attributes:
        spec: the spec, if its text and fields are right.
        program: what it computes, if everything is.
        problems: every problem of the phase that failed, or every warning where none did; sorted by place.
    """

    spec: Spec | None
    program: Program | None
    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether there is nothing but warnings."""
        return self.program is not None


def load_spec(path: str | Path, *, sets: Sequence[str] = (), max_bytes: int = MAX_BYTES) -> Spec:
    """The spec in a file, or a preset by its name.

    Args:
        path: a YAML or JSON file, or the name of a preset (``gpt2``).
        sets: overrides such as ``blocks.decoder.n_layers=2``.
        max_bytes: size above which the file is not even looked at.

    Raises:
        SpecError: it is not valid; every problem of the phase that failed is in it.
    """
    return _spec_of(check(path, sets=sets, max_bytes=max_bytes))


def parse_spec(
    text: str | bytes, file: str = "<text>", *, sets: Sequence[str] = (), max_bytes: int = MAX_BYTES
) -> Spec:
    """The spec that a YAML or JSON text says.

    Args:
        text: the document.
        file: how messages call it.
        sets: overrides such as ``blocks.decoder.n_layers=2``.
        max_bytes: size above which the text is not even looked at.

    Raises:
        SpecError: it is not valid; every problem of the phase that failed is in it.
    """
    return _spec_of(check_text(text, file, sets=sets, max_bytes=max_bytes))


def check(path: str | Path, *, sets: Sequence[str] = (), max_bytes: int = MAX_BYTES) -> Checked:
    """Like :func:`load_spec`, with the problems as a result."""
    try:
        _require_overrides(sets)
        data, file = source_of(path, max_bytes)
    except SpecError as error:
        return Checked(None, None, error.problems)
    return check_text(data, file, sets=sets, max_bytes=max_bytes)


def check_text(
    text: str | bytes, file: str = "<text>", *, sets: Sequence[str] = (), max_bytes: int = MAX_BYTES
) -> Checked:
    """Like :func:`parse_spec`, with the problems as a result."""
    try:
        if not isinstance(cast("object", text), str | bytes):
            raise SpecError.of(
                "FX2007", "text cannot be used", path="text", found=f"a {type(text).__name__}",
                expected="the text of a spec", cure="read the file, or take load_spec(path)",
            )  # fmt: skip
        _require_overrides(sets)
        root = read(text, file, max_bytes=max_bytes)
        return check_tree(override(root, sets) if sets else root)
    except SpecError as error:
        return Checked(None, None, tuple(in_order(error.problems)))


def check_tree(root: Node) -> Checked:
    """The phases after reading: version, fields and kinds, graph, shapes."""
    broken = tuple(_broken_texts(root))
    if broken:
        return Checked(None, None, broken)
    current = mistaken(root, SPEC) or migrate(root)
    if isinstance(current, Problem):
        return Checked(None, None, (current,))
    written, unshared = write_out(current)
    spec, found = validate(written)
    if unshared or spec is None:
        return Checked(None, None, tuple(in_order([*unshared, *_without(found, unshared)])))
    return check_spec(spec)


def _broken_texts(root: Node) -> Iterator[Problem]:
    """FX0101 for each text of a document, which may be from Python, that no file could hold."""
    for node in root.walk():
        texts = [node.value] if isinstance(node.value, str) else node.entries
        for found in filter(None, map(unusable, texts)):
            yield placed(problem(
                "FX0101", path=node.dotted, message="a character that no text may hold",
                expected="whole characters other than U+0000", found=found, cure="write the character that is meant",
            ), node.mark)  # fmt: skip


def check_spec(spec: Spec) -> Checked:
    """The graph and the shapes of a spec whose fields are right."""
    from flexit.ir.checks import run

    walk = run.walk(spec)
    problems = run.errors(walk)
    if problems:
        return Checked(spec, None, tuple(in_order(problems)))
    program, problems = run.expanded(walk)
    if program is None or problems:
        return Checked(spec, None, tuple(in_order(problems)))
    return Checked(spec, program, tuple(in_order(run.warnings(walk))))


def presets() -> list[str]:
    """Names of the specs that come with flexit."""
    return sorted(
        entry.name[:-5] for entry in resources.files("flexit.presets").iterdir() if entry.name.endswith(".yaml")
    )


def source_of(path: str | Path, max_bytes: int = MAX_BYTES) -> tuple[bytes, str]:
    """The bytes of a file or preset, and how messages call it.

    Raises:
        SpecError: there is neither.
    """
    if not isinstance(cast("object", path), str | PathLike):
        raise SpecError.of(
            "FX2007", "path cannot be used", path="path", found=f"a {type(path).__name__}",
            expected="a path, or the name of a preset", cure="write the path of a YAML or JSON file",
        )  # fmt: skip
    name = str(path)
    if Path(path).is_file():
        return read_bytes(Path(path), max_bytes), name
    if isinstance(path, str) and name in presets():
        return (resources.files("flexit.presets") / f"{name}.yaml").read_bytes(), f"{name}.yaml"
    near, folder = nearest(name, presets()), Path(path).is_dir()
    cure = instead_of(path, "spec") if folder else f"write {near}" if near else None
    raise SpecError([
        problem(
            "FX0100", path="", message="no file and no preset of this name" if not folder else "a folder, not a spec",
            found=f"{found_at(path)}, {name}" if folder else f"{name}{_special(name)}",
            expected="a file, or the name of a preset (flexit new --list shows them)",
            cure=cure or "correct the path",
        )
    ])  # fmt: skip


def _special(name: str) -> str:
    """What else stands there: a link that leads nowhere, or no regular file."""
    if os.path.islink(name) and not os.path.exists(name):
        return ", a link that leads to nothing"
    return ", which is no regular file" if os.path.exists(name) else ""


def _require_overrides(sets: Sequence[str]) -> None:
    given = cast("object", sets)
    entries = cast("Sequence[object]", given) if isinstance(given, list | tuple) else (None,)
    if not all(isinstance(entry, str) for entry in entries):
        raise SpecError.of(
            "FX2007", "sets cannot be used", path="sets", found=shown(sets),
            expected="a list of texts such as blocks.decoder.n_layers=2", cure="put each override in the list",
        )  # fmt: skip


def _spec_of(checked: Checked) -> Spec:
    if not checked.valid or checked.spec is None:
        raise SpecError(problem for problem in checked.problems if not problem.warning)
    return checked.spec


def _without(problems: Iterable[Problem], unshared: Iterable[Problem]) -> list[Problem]:
    """Problems that are not just fields which a block could not take over from the one it shares with."""
    broken = [problem.path.rpartition(".")[0] for problem in unshared]
    return [p for p in problems if not (p.code == "FX0202" and p.path.rpartition(".")[0] in broken)]
