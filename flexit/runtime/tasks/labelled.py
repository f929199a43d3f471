"""Texts with the labels that they should get, and how often a classifier gives them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flexit.errors import UserError
from flexit.runtime.tasks.classify import classify
from flexit.runtime.tasks.text_model import Reading, Text, TextModel


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, or two that are compared, and its label."""

    text: Text
    label: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the best class was the label.

    Attributes:
        right, count: texts whose best class is their label, and all texts.
        f1: of each label the harmonic mean of precision and recall; 0 where a class is never right.
    """

    right: int
    count: int
    f1: Mapping[str, float]

    @property
    def accuracy(self) -> float:
        """The share that was right."""
        return self.right / self.count

    @property
    def macro_f1(self) -> float:
        """The mean of the f1 of all labels that occur."""
        return sum(self.f1.values()) / len(self.f1)


def accuracy(model: TextModel, data: Sequence[Labelled], how: Reading | None = None) -> Accuracy:
    """Classify texts and compare with their labels.

    Raises:
        TaskError: see :func:`flexit.classify`.
        UserError: FX2102, a label that the model does not have.
    """
    results = classify(model, [each.text for each in data], how)
    known = results[0].labels
    for each in data:
        if each.label not in known:
            raise UserError.of(
                "FX2102", "a label that the model does not have", path="label",
                expected=f"one of {', '.join(known[:20])}", found=each.label,
                cure="write the labels as labels.json has them, or the numbers of the classes",
            )  # fmt: skip
    found = [result.best[0] for result in results]
    wanted = [each.label for each in data]
    right = sum(one == other for one, other in zip(found, wanted, strict=True))
    return Accuracy(right, len(data), {label: _f1(found, wanted, label) for label in dict.fromkeys(wanted)})


def _f1(found: Sequence[str], wanted: Sequence[str], label: str) -> float:
    both = sum(one == other == label for one, other in zip(found, wanted, strict=True))
    return 2 * both / (found.count(label) + wanted.count(label))


def read_labelled(file: str | Path) -> list[Labelled]:
    """Rows of a ``.csv`` or ``.jsonl`` with ``text`` (and ``text_pair``) and ``label``.

    Raises:
        UserError: FX2103, a row without them, or no rows; FX1602, not UTF-8.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError.of(
            "FX1602", f"{file} is not UTF-8 text", path=str(file), expected="UTF-8",
            found=f"byte 0x{error.object[error.start]:02x} at offset {error.start}", cure="convert it",
        ) from None  # fmt: skip
    except OSError as error:
        raise UserError.of(
            "FX2103", f"{file} cannot be read", path=str(file), expected="a .csv or .jsonl file",
            found=error.strerror or str(error), cure="check the path and its permissions",
        ) from None  # fmt: skip
    if path.suffix == ".jsonl":
        rows = [_json(line, f"{file}:{number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    else:
        rows = list(enumerate_rows(text, str(file)))
    if not rows:
        raise _wrong(str(file), "no rows")
    return rows


def enumerate_rows(text: str, file: str) -> list[Labelled]:
    """Rows of a CSV text whose first line names its columns."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return [_row(row, f"{file}:{number}") for number, row in enumerate(reader, 2)]
    except csv.Error as error:
        raise _wrong(f"{file}:{reader.line_num}", str(error)) from None


def _json(line: str, place: str) -> Labelled:
    try:
        row: object = json.loads(line)
    except (ValueError, RecursionError):
        raise _wrong(place, line[:60]) from None
    if not isinstance(row, dict):
        raise _wrong(place, line[:60])
    return _row(cast("dict[str, Any]", row), place)


def _row(row: Mapping[str, Any], place: str) -> Labelled:
    text, pair, label = row.get("text"), row.get("text_pair"), row.get("label")
    fits = isinstance(text, str) and isinstance(label, str | int) and not isinstance(label, bool)
    if not fits or not (pair is None or isinstance(pair, str)):
        raise _wrong(place, ", ".join(f"{key}: {value!r}"[:40] for key, value in list(row.items())[:4]))
    return Labelled(str(text) if pair is None else (str(text), pair), str(label))


def _wrong(place: str, found: str) -> UserError:
    return UserError.of(
        "FX2103", "no labelled text", path=place, expected="text (and text_pair) and label in each row", found=found,
        cure="name the columns or keys text and label",
    )  # fmt: skip
