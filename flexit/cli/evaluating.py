"""``eval``: how good a model is on data, in ONNX Runtime from a bundle or in PyTorch from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flexit.cli.console import answering, counting, emit, say
from flexit.cli.specs import MOST, Json, Model, Plugins, load_plugins, named
from flexit.errors import UserError
from flexit.files.regular import read_regular
from flexit.ir.wording import nearest, several
from flexit.runtime.status import stages

if TYPE_CHECKING:
    from flexit.runtime.metric import Metric
    from flexit.runtime.tasks.text_model import TextModel

RECORDS = (".csv", ".jsonl")


def eval_(
    model: Model,
    *,
    data: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="A text; or .csv or .jsonl with text (text_pair) and label, tokens and labels, source and target, or "
            "anchor and positive.",
            callback=named,
        ),
    ],
    length: Annotated[
        int | None, typer.Option(metavar="N", min=2, max=MOST, help="Tokens of a window.", show_default="1024")
    ] = None,
    overlap: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST, help="Tokens that windows repeat without predicting them.")
    ] = 1,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="NAME", help="What to tell, such as accuracy, bleu or recall:k=5; may be given again."
        ),
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST, help="Most tokens of a text that is made of a source.")
    ] = 128,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Records in one pass.")] = 32,
    as_json: Json = False,
    plugins: Plugins = None,
) -> None:
    """Measure a model on data, in PyTorch or ONNX Runtime, by the metrics that training has.

    Of a text perplexity and bits per byte; of records accuracy and F1, entity F1, correlations, recall, or the texts
    that are made of sources.

    Example: flexit eval bundles/tiny --data corpus.txt
    """
    from flexit.cli.sessions import session_at
    from flexit.runtime.tasks.text_model import TextModel

    load_plugins(plugins)
    with answering(as_json):
        wanted = None if metric is None else [metric_of(each) for each in metric]
        records = Path(data).suffix in RECORDS
        with stages(f"opening {model}"):
            session, folder = session_at(model)
            reader = TextModel.of(session, folder)
        if records:
            found = _scores(reader, folder, data, wanted=wanted, batch_size=batch_size, most=max_new_tokens)
        else:
            found = _perplexity(reader, data, length, overlap=overlap, wanted=wanted)
    if as_json:
        emit(found)
        return
    for name, value in found.items():
        say(f"{name.replace('_', ' ')}: {value:.4f}" if isinstance(value, float) else f"{name}: {value:,}")


def _perplexity(
    reader: TextModel, file: str, length: int | None, *, overlap: int, wanted: Sequence[Metric] | None
) -> dict[str, Any]:  # fmt: skip
    from flexit.runtime.tasks.perplexity import perplexity
    from flexit.runtime.tasks.scoring import require_fitting

    require_fitting(wanted or (), ["bytes"])
    with counting("predicting") as progress:
        found = perplexity(reader, _text(file), length=length, overlap=overlap, progress=progress)
    told = {"perplexity": found.perplexity, "bits_per_byte": found.bits_per_byte, "loss": found.loss}
    if wanted is not None:
        told = {each.name: told[each.name] for each in wanted}
    return {**told, "tokens": found.tokens, "bytes": found.n_bytes}


def _scores(
    reader: TextModel, folder: Path, file: str, *, wanted: Sequence[Metric] | None, batch_size: int, most: int
) -> dict[str, Any]:  # fmt: skip
    from flexit.runtime.generation.generation_config import GenerationConfig
    from flexit.runtime.tasks.records import read_records
    from flexit.runtime.tasks.scoring import Answering, scores
    from flexit.runtime.tasks.text_model import TARGET_TOKENIZER, Reading
    from flexit.runtime.tokenizer import Tokenizer

    records, own = read_records(file), folder / TARGET_TOKENIZER
    with counting("answering") as progress:
        how = Answering(
            reading=Reading(batch_size=batch_size, progress=progress), max_new_tokens=most,
            target_tokenizer=Tokenizer.load(own) if own.is_file() else None,
            config=GenerationConfig.read(folder / "generation_config.json"),
        )  # fmt: skip
        return {**scores(reader, records, wanted, how=how), "records": len(records)}


def metric_of(text: str) -> Metric:
    """A metric as it is named on the command line: ``recall``, or ``recall:k=5``.

    Raises:
        UserError: FX1111, there is none of this name, or it has no such setting.
    """
    from pydantic import ValidationError
    from pydantic_core import PydanticCustomError

    from flexit.ir import registry
    from flexit.ir.language.kinds import choose
    from flexit.runtime.metric import Metric

    kind, _, settings = text.partition(":")
    try:
        pairs = (each.partition("=") for each in settings.split(",")) if settings else ()
        given: dict[str, Any] = {name: int(value) if value.isdigit() else value for name, _, value in pairs}
        given = {name: {"true": True, "false": False}.get(value, value) for name, value in given.items()}
        found = choose(Metric, {"kind": kind, **given})
    except (ValidationError, PydanticCustomError):
        cls, names = registry.find(Metric, kind), registry.names(Metric)
        settings = several(list(cls.model_fields)) if cls is not None else ""
        raise UserError.of(
            "FX1111", "the option does not take this value", path="--metric", found=text,
            expected=several(names) if cls is None else f"{kind}, which has {settings or 'no settings'}",
            cure=f"write {nearest(kind, names) or names[0]}" if cls is None else "correct it, such as recall:k=5",
        ) from None  # fmt: skip
    assert isinstance(found, Metric)
    return found


def _text(file: str) -> str:
    """The text of a file.

    Raises:
        UserError: FX1602, it is not UTF-8; FX2103, it cannot be read.
    """
    try:
        return read_regular(file, expected="a text file").decode("utf-8-sig")
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
