"""Records of a ``.csv`` or ``.jsonl`` file, each with its place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flexit.errors import UserError
from flexit.files.regular import read_regular


@dataclass(frozen=True, slots=True)
class Record:
    """Values by the names of their columns, and where they stand."""

    values: dict[str, Any]
    place: str

    def text(self, column: str) -> str:
        """The text in a column.

        Raises:
            UserError: FX2103, there is something else.
        """
        value = self.values.get(column)
        if not isinstance(value, str):
            raise self.unfit(f"a text in {column}", column)
        return value

    def label(self, column: str) -> str:
        """The text or whole number in a column.

        Raises:
            UserError: FX2103, there is something else.
        """
        value = self.values.get(column)
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise self.unfit(f"a text or a whole number in {column}", column)
        return str(value)

    def number(self, column: str) -> float:
        """The number in a column.

        Raises:
            UserError: FX2103, there is something else.
        """
        value = self.values.get(column)
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError
            return float(value)
        except ValueError:
            raise self.unfit(f"a number in {column}", column) from None

    def listed(self, column: str) -> list[str]:
        """The texts in a column.

        Raises:
            UserError: FX2103, there is something else.
        """
        value = self.values.get(column)
        found = cast("list[object]", value) if isinstance(value, list) else []
        if not found or not all(isinstance(each, str | int) and not isinstance(each, bool) for each in found):
            raise self.unfit(f"a list of texts in {column}", column)
        return [str(each) for each in found]

    def unfit(self, expected: str, column: str) -> UserError:
        """The error of a record that has something else in a column."""
        value = self.values.get(column)
        named = ", ".join(f"{key}: {value!r}"[:40] for key, value in list(self.values.items())[:4])
        return _wrong(self.place, expected, f"{column}: {value!r}"[:60] if column in self.values else named)


def read_records(file: str | Path) -> list[Record]:
    """The records of a ``.csv``, whose first line names its columns, or of a ``.jsonl`` with an object in each line.

    Raises:
        UserError: FX2103, it is no file, a line is no record, or there are none; FX1602, the file is not UTF-8.
    """
    path = Path(file)
    try:
        text = read_regular(path, expected="a .csv or .jsonl file").decode("utf-8-sig")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
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
    found = list(_jsonl(text, str(file)) if path.suffix == ".jsonl" else _csv(text, str(file)))
    if not found:
        raise _wrong(str(file), "records", "no rows")
    return found


def _jsonl(text: str, file: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _wrong(f"{file}:{number}", "a JSON object", line[:60])
        yield Record(cast("dict[str, Any]", row), f"{file}:{number}")


def _csv(text: str, file: str) -> Iterator[Record]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for number, row in enumerate(reader, 2):
            yield Record({key: value for key, value in row.items() if value is not None}, f"{file}:{number}")
    except csv.Error as error:
        raise _wrong(f"{file}:{reader.line_num}", "a row of CSV", str(error)) from None


def columns_of(records: Sequence[Record]) -> set[str]:
    """The columns that the first record has."""
    return set(records[0].values)


def _wrong(place: str, expected: str, found: str) -> UserError:
    return UserError.of(
        "FX2103", "not a record to judge by", path=place, expected=expected, found=found,
        cure="mend it, or name the columns as flexit eval --help lists them",
    )  # fmt: skip
