"""What commands on texts begin and end with: a model that reads texts, the texts themselves, arrays on the disk."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from flexit.cli.sessions import session_at
from flexit.errors import UserError
from flexit.files.folder import write_file

if TYPE_CHECKING:
    from flexit.runtime.sessions.arrays import Array
    from flexit.runtime.tasks.text_model import Text, TextModel


def text_model_at(path: str) -> TextModel:
    """A session on a bundle, checkpoint or run that reads texts.

    Raises:
        UserError: there is no model, it has no tokenizer, or its labels cannot be used.
    """
    from flexit.runtime.tasks.text_model import TextModel

    return TextModel.of(*session_at(path))


def texts_of(arguments: Sequence[str], file: str | None, *, jsonl: bool) -> list[Text]:
    """The texts that were given: as arguments, or in a file.

    Args:
        arguments: texts.
        file: with a text on each line, or ``-`` for standard input.
        jsonl: whether each line is JSON, as in every file that ends in ``.jsonl``: a text, or a list of two.

    Raises:
        UserError: FX2103, there are none, or both, or a line is none; FX1602, the file is not UTF-8.
    """
    if bool(arguments) == (file is not None):
        raise UserError.of(
            "FX2103", "no texts" if file is None else "texts as arguments and in a file", path="TEXT",
            expected="texts as arguments, or --file FILE (- reads standard input)",
            found="neither" if file is None else "both", cure="give one of them",
        )  # fmt: skip
    if file is None:
        return list(arguments)
    lines = _decoded(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes(), file).split("\n")
    if not lines[-1]:
        del lines[-1]  # what ends in a line break has no text after it
    if not lines:
        raise UserError.of(
            "FX2103", "the file has no texts", path=file, expected="a text on each line", found="an empty file",
            cure="give at least one",
        )  # fmt: skip
    lines = [line.removesuffix("\r") for line in lines]
    if not (jsonl or file.endswith(".jsonl")):
        return list(lines)
    return [_from_json(line, f"{file}:{number}") for number, line in enumerate(lines, 1)]


def require_out(out: str | None, ending: str, *, force: bool) -> None:
    """Refuse a file that arrays cannot be written to, before anything lasts.

    Raises:
        UserError: FX2104, it ends otherwise; FX1301, it is there; FX1302, it is a folder or a link.
    """
    if out is None:
        return
    if Path(out).suffix != ending:
        raise UserError.of(
            "FX2104", "not a name for these arrays", path="--out", expected=f"a file that ends in {ending}", found=out,
            cure=f"write {Path(out).with_suffix(ending) if Path(out).name else 'vectors' + ending}",
        )  # fmt: skip
    if Path(out).is_dir() or Path(out).is_symlink():
        raise UserError.of(
            "FX1302", f"{out} will not be replaced", expected="the name of a file",
            found="a link" if Path(out).is_symlink() else "a folder", cure="give another name",
        )  # fmt: skip
    if Path(out).exists() and not force:
        raise UserError.of(
            "FX1301", f"{out} exists already", expected="a new name", found="a file",
            cure="give another file, or --force to replace it",
        )  # fmt: skip


def write_arrays(out: str, arrays: Array | Sequence[Array]) -> str:
    """Write one array as ``.npy``, or one for each text as ``.npz``, called 0, 1, ...; what was written, in words.

    Raises:
        ResourceError: FX1304, the system refused.
    """
    stream = io.BytesIO()
    if isinstance(arrays, np.ndarray):
        np.save(stream, arrays, allow_pickle=False)
        shape = " x ".join(map(str, arrays.shape))
    else:
        named: Mapping[str, Any] = {str(index): array for index, array in enumerate(arrays)}
        np.savez(stream, **named)
        shape = f"{len(arrays)} arrays, one for each text"
    write_file(Path(out), stream.getvalue())
    return f"{out} written: {shape}"


def on_one_line(text: Text) -> str:
    """A text as the end of a line, pairs with a tab between."""
    parts = (text,) if isinstance(text, str) else text
    return "\t".join(" ".join(part.split()) for part in parts)


def _decoded(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError.of(
            "FX1602", f"{file} is not UTF-8 text", path=file, expected="UTF-8",
            found=f"byte 0x{error.object[error.start]:02x} at offset {error.start}", cure="convert it",
        ) from None  # fmt: skip


def _from_json(line: str, place: str) -> Text:
    try:
        found: object = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, str):
        return found
    pair = cast("list[object]", found) if isinstance(found, list) else []
    if len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str):
        return pair[0], pair[1]
    raise UserError.of(
        "FX2103", "a line is no text", path=place, expected='JSON: "a text", or ["first", "second"]', found=line[:60],
        cure="correct the line",
    )  # fmt: skip
