"""Files that are given to go into a bundle: read as they will be when it is used, and held against the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import cast

from flexit.errors import TaskError, UserError
from flexit.ir.io.places import CARRIED
from flexit.ir.program import Program
from flexit.runtime.generation.generation_config import GenerationConfig
from flexit.runtime.sessions.interface import Interface
from flexit.runtime.tasks.text_model import read_labels
from flexit.runtime.tokenizer import Tokenizer


def carriable(files: Sequence[str | Path]) -> dict[str, Path]:
    """Files to carry by name.

    Raises:
        UserError: FX2007, they are no list of paths, one is of another name, or there is none.
    """
    given = cast("object", files)
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise _unfit(f"a {type(given).__name__}")
    found: dict[str, Path] = {}
    for file in cast("Iterable[object]", given):
        if not isinstance(file, str | PathLike):
            raise _unfit(f"a {type(file).__name__} among them")
        path = Path(cast("str", file))
        if path.name not in CARRIED or not path.is_file():
            raise _unfit(str(path) if path.name not in CARRIED else f"no file {path}")
        found[path.name] = path
    return found


def require_fitting(files: dict[str, Path], program: Program, interface: Interface) -> None:
    """Refuse a file that what opens the bundle could not use, or that is another model's.

    Raises:
        UserError: FX1604, no tokenizer; FX1502, a tokenizer of more ids than the model has rows; FX1109, no settings
            of generation; FX2102, no labels, or not as many as there are scores.
    """
    tables = [entry.limit for entry in interface.inputs if entry.role == "ids" and entry.limit]
    rows = max(tables, default=None)  # token types have a table too
    for file in (files[name] for name in ("tokenizer.json", "target_tokenizer.json") if name in files):
        size = Tokenizer.load(file).vocab_size
        if rows is not None and size > rows:
            raise UserError.of(
                "FX1502", f"{file} is of another model", path="carry",
                expected=f"ids below {rows}, the rows of the model's table", found=f"ids up to {size - 1}",
                cure="carry the tokenizer that the model was trained with",
            )  # fmt: skip
    if "generation_config.json" in files:
        _require_ids(files["generation_config.json"], rows)
    names = read_labels(files["labels.json"]) if "labels.json" in files else None
    if names is not None and len(names) not in set(_scores(program)):
        raise UserError.of(
            "FX2102", f"{files['labels.json']} is of another model", path="carry",
            expected=f"a name for each of the {' or '.join(map(str, _scores(program)))} scores",
            found=f"{len(names)} names", cure="carry the labels that the model was trained with",
        )  # fmt: skip


def _require_ids(file: Path, rows: int | None) -> None:
    config = GenerationConfig.read(file)
    beyond = [each for each in (config.start, config.pad, *config.eos) if rows is not None and each >= rows]
    if beyond:
        raise TaskError.of(
            "FX1109", f"{file} is of another model", path="carry",
            expected=f"token ids below {rows}, the rows of the model's table", found=str(beyond[0]),
            cure="carry the file of the model",
        )  # fmt: skip


def _scores(program: Program) -> Iterator[int]:
    """How many numbers each output has for a row or token."""
    yield from (last for value in program.outputs.values() if isinstance(last := value.dims[-1], int))


def _unfit(found: str) -> UserError:
    return UserError.of(
        "FX2007", "carry cannot be used", path="carry", expected=f"a list of files called {', '.join(CARRIED)}",
        found=found, cure="give the files of the model, under these names",
    )  # fmt: skip
