"""``eval``: how good a model is on data, in ONNX Runtime from a bundle or in PyTorch from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexit.cli.console import answering, counting, emit, say
from flexit.cli.specs import MOST, Json, Model, Plugins, load_plugins, named
from flexit.errors import UserError
from flexit.runtime.status import stages

if TYPE_CHECKING:
    from flexit.runtime.tasks.text_model import TextModel

LABELLED = (".csv", ".jsonl")


def eval_(
    model: Model,
    *,
    data: Annotated[
        str,
        typer.Option(metavar="FILE", help="A text; or .csv or .jsonl with text (text_pair) and label.", callback=named),
    ],
    length: Annotated[
        int | None, typer.Option(metavar="N", min=2, max=MOST, help="Tokens of a window.", show_default="1024")
    ] = None,
    overlap: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST, help="Tokens that windows repeat without predicting them.")
    ] = 1,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Labelled texts in one pass.")] = 32,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Measure a model on data: perplexity and bits per byte of a text, accuracy and F1 of labelled texts.

    Example: flexit eval bundles/tiny --data corpus.txt
    """
    from flexit.cli.texts import text_model_at

    load_plugins(plugins)
    with answering(as_json):
        with stages(f"opening {model}"):
            reader = text_model_at(model)
        if Path(data).suffix in LABELLED:
            found = _accuracy(reader, data, batch_size)
        else:
            found = _perplexity(reader, data, length, overlap=overlap)
    if as_json:
        emit(found)
        return
    for name, value in found.items():
        say(f"{name.replace('_', ' ')}: {value:.4f}" if isinstance(value, float) else f"{name}: {value:,}")


def _perplexity(reader: TextModel, file: str, length: int | None, *, overlap: int) -> dict[str, Any]:
    from flexit.runtime.tasks.perplexity import perplexity

    with counting("predicting") as progress:
        found = perplexity(reader, _text(file), length=length, overlap=overlap, progress=progress)
    return {
        "perplexity": found.perplexity, "bits_per_byte": found.bits_per_byte, "loss": found.loss,
        "tokens": found.tokens, "bytes": found.n_bytes,
    }  # fmt: skip


def _accuracy(reader: TextModel, file: str, batch_size: int) -> dict[str, Any]:
    from flexit.runtime.tasks.labelled import accuracy, read_labelled
    from flexit.runtime.tasks.text_model import Reading

    rows = read_labelled(file)
    with counting("classifying") as progress:
        found = accuracy(reader, rows, Reading(batch_size=batch_size, progress=progress))
    return {"accuracy": found.accuracy, "macro_f1": found.macro_f1, "texts": found.count}


def _text(file: str) -> str:
    """The text of a file.

    Raises:
        UserError: FX1602, it is not UTF-8; FX2103, it cannot be read.
    """
    try:
        return Path(file).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError.of(
            "FX1602", f"{file} is not UTF-8 text", path=file, expected="UTF-8",
            found=f"byte 0x{error.object[error.start]:02x} at offset {error.start}", cure="convert it",
        ) from None  # fmt: skip
    except OSError as error:
        raise UserError.of(
            "FX2103", f"{file} cannot be read", path=file, expected="a text file", found=error.strerror or str(error),
            cure="check the path and its permissions",
        ) from None  # fmt: skip


COMMANDS: tuple[Any, ...] = (eval_,)
