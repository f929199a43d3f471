"""``flexit eval`` on records: a model's answers beside the right ones, as the evidence that metrics read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flexit.errors import TaskError, UserError
from flexit.ir.language.kinds import choose
from flexit.ir.wording import several
from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.generation_config import GenerationConfig
from flexit.runtime.metric import Evidence, Labels, Metric, Numbers, Texts, Vectors, by_evidence, faults
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.tasks.classify import classify, names_of
from flexit.runtime.tasks.embed import embed
from flexit.runtime.tasks.records import Record, columns_of
from flexit.runtime.tasks.text_model import Reading, Text, TextModel
from flexit.runtime.tokenizer import Tokenizer

LONGEST = 128
"""Tokens that a text may get, where nobody says how many."""
COLUMNS: Mapping[tuple[str, str], tuple[tuple[Evidence, ...], tuple[str, ...]]] = {
    ("source", "target"): (("texts",), ("exact_match", "error_rate")),
    ("tokens", "labels"): (("labels", "tags"), ("accuracy", "f1")),
    ("anchor", "positive"): (("vectors",), ("recall",)),
    ("text", "label"): (("labels",), ("accuracy", "f1")),
}
"""What a file is judged by that has these columns: the evidence that they give, and the usual metrics."""
NUMBERS: tuple[tuple[Evidence, ...], tuple[str, ...]] = (("numbers",), ("spearman", "pearson"))
"""Of texts and labels, where the model gives one number for each text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How a model's answers are made.

    Attributes:
        reading: batches, truncation, progress.
        target_tokenizer: of generated texts, where it is another than that of their sources.
        config: how a generated text begins and ends.
        max_new_tokens: most tokens of one.
    """

    reading: Reading = field(default_factory=Reading)
    target_tokenizer: Tokenizer | None = None
    config: GenerationConfig = field(default_factory=GenerationConfig)
    max_new_tokens: int = LONGEST


def scores(
    model: TextModel, records: Sequence[Record], metrics: Sequence[Metric] | None = None, *,
    how: Answering | None = None,
) -> dict[str, float]:  # fmt: skip
    """Metrics of a model's answers, by name.

    Args:
        model: a session that reads texts.
        records: with columns ``text`` (``text_pair``) and ``label``, ``tokens`` and ``labels``, ``anchor`` and
            ``positive``, or ``source`` and ``target``.
        metrics: those that are wanted; by default the usual ones.
        how: how answers are made.

    Raises:
        UserError: FX2103, a record has not what its columns promise; FX2102, a label is none of the model's; FX1530, a
            metric does not go with the columns; FX1608, it needs a library that is not there.
        TaskError: FX0801, the model does not give such answers; and what reading and generation raise.
    """
    how = how or Answering()
    columns = next((each for each in COLUMNS if set(each) <= columns_of(records)), None)
    if columns is None:
        raise records[0].unfit("text and label, source and target, tokens and labels, or anchor and positive", "text")
    match columns[0]:
        case "source":
            seen: Any = texts_seen(model, records, how)
        case "tokens":
            seen = tags_seen(model, records, how.reading)
        case "anchor":
            parts = ([each.text(column) for each in records] for column in columns)
            ones, others = (embed(model, texts, how.reading) for texts in parts)
            seen = Vectors(ones, others)
        case _:
            seen = classes_seen(model, records, how.reading)
    shown, usual = NUMBERS if isinstance(seen, Numbers) else COLUMNS[columns]
    wanted = list(metrics) if metrics is not None else [_metric(kind) for kind in usual]
    require_fitting(wanted, shown, seen.names if isinstance(seen, Labels) else ())
    return {metric.name: metric.of(seen) for metric in wanted}


def require_fitting(metrics: Sequence[Metric], shown: Sequence[Evidence], names: Sequence[str] = ()) -> None:
    """Raise unless metrics can be told from some evidence.

    Raises:
        UserError: FX1530, FX1608.
    """
    for index, wrong in faults(metrics, shown, names):
        raise UserError.of(
            wrong.code, wrong.message, path=f"--metric {metrics[index].kind}", expected=wrong.expected,
            found=wrong.found, cure=wrong.cure,
        )  # fmt: skip
    assert all(by_evidence(metric, shown) for metric in metrics)


def _metric(kind: str) -> Metric:
    found = choose(Metric, kind)
    assert isinstance(found, Metric)
    return found


def classes_seen(model: TextModel, records: Sequence[Record], how: Reading) -> Labels | Numbers:
    """The best class of each text beside its label; or the number, of a model that gives one alone."""
    texts: list[Text] = [
        (each.text("text"), each.text("text_pair")) if "text_pair" in each.values else each.text("text")
        for each in records
    ]
    found = classify(model, texts, how, scores="none")
    names = found[0].labels
    if len(names) == 1:
        numbers = np.array([float(each.scores[0]) for each in found])
        return Numbers(numbers, np.array([each.number("label") for each in records]))
    best = [np.array([each.scores.argmax()]) for each in found]
    return Labels(best, [_numbers(each, [each.label("label")], names) for each in records], names)


def tags_seen(model: TextModel, records: Sequence[Record], how: Reading) -> Labels:
    """The best class of each word, by its first token, beside its label; words that were cut away are left out."""
    limit = model.longest if how.truncate else None
    words = [each.listed("tokens") for each in records]
    read = [model.tokenizer.read_words(each, limit=limit) for each in words]
    rows: dict[int, tuple[Array, Array]] = {}
    names: tuple[str, ...] = ()
    for each in model.run(read, how):
        record, scores = records[each.index], each.scores("logits")
        names = names or names_of(model, scores, "logits")
        wanted = _numbers(record, record.listed("labels"), names)
        if len(wanted) != len(words[each.index]):
            raise record.unfit(f"{len(words[each.index])} labels, one for each word", "labels")
        of_words = list(each.encoding.word_ids)
        first = {word: place for place, word in reversed(list(enumerate(of_words))) if word is not None}
        kept = sorted(first)
        best = each.per_token("logits").argmax(axis=-1)
        rows[each.index] = (best[[first[word] for word in kept]], wanted[kept])
    return Labels([rows[at][0] for at in range(len(rows))], [rows[at][1] for at in range(len(rows))], names)


def _numbers(record: Record, labels: Sequence[str], names: Sequence[str]) -> Array:
    """The numbers of classes.

    Raises:
        UserError: FX2102, the model has no such class.
    """
    unknown = [label for label in labels if label not in names]
    if unknown:
        raise UserError.of(
            "FX2102", "a label that the model does not have", path=record.place,
            expected=f"one of {', '.join(names[:20])}", found=unknown[0],
            cure="write the labels as labels.json has them, or the numbers of the classes",
        )  # fmt: skip
    return np.array([list(names).index(label) for label in labels])


def texts_seen(model: TextModel, records: Sequence[Record], how: Answering) -> Texts:
    """The text that is generated for each source, token by token the most probable, beside the right one."""
    target = how.target_tokenizer or model.tokenizer
    source = source_of(model)
    ids = [each.ids for each in model.tokenizer.read([each.text("source") for each in records])]
    wanted = [each.text("target") for each in records]
    made = [_without_end(row, how.config) for row in _generated(model, ids, source, how=how)]
    return Texts([target.decode(row) for row in made], wanted, made, [target.encode(text) for text in wanted])


def source_of(model: TextModel) -> str:
    """The input of a model's sources.

    Raises:
        TaskError: FX0801, it does not make one text of another.
    """
    interface = model.session.interface
    found = [each.name for each in interface.inputs if each.role == "ids" and each.group != interface.decoded]
    if interface.decoded is None or len(found) != 1:
        raise TaskError.of(
            "FX0801", "the model does not make one text of another", path="inputs",
            expected="an encoder of one text and a decoder", found=several([each.name for each in interface.inputs]),
            cure="evaluate a model that was trained on sources and targets",
        )  # fmt: skip
    return found[0]


def _generated(
    model: TextModel, ids: Sequence[Sequence[int]], source: str, *, how: Answering
) -> Iterator[list[int]]:  # fmt: skip
    interface, limit = model.session.interface, model.session.interface.position_limit
    group = next(each.group for each in interface.inputs if each.name == source)
    mask = next(each.name for each in interface.inputs if each.group == group and each.role == "mask")
    most = how.max_new_tokens if limit is None else min(how.max_new_tokens, limit)
    size, progress = how.reading.batch_size, how.reading.progress
    for begin in range(0, len(ids), size):
        rows = ids[begin : begin + size]
        width = max(map(len, rows))
        others = {
            source: np.array([[*row, *[how.config.pad] * (width - len(row))] for row in rows], np.int64),
            mask: np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int64),
        }
        yield from generate(
            model.session, [[how.config.start]] * len(rows), max_new_tokens=most, eos_id=list(how.config.eos),
            pad_id=how.config.pad, others=others,
        )  # fmt: skip
        if progress is not None:
            progress(begin + len(rows), len(ids))


def _without_end(row: Sequence[int], config: GenerationConfig) -> list[int]:
    return list(row[:-1] if row and row[-1] in config.eos else row)
