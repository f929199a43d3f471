"""``classify``: scores of classes by name, for texts, for pairs of texts (rerankers), or for each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from flexit.errors import TaskError, UserError
from flexit.runtime.probabilities import probabilities
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.tasks.text_model import Read, Reading, Text, TextModel, logits_of, require_text_model

Scores = Literal["softmax", "sigmoid", "none"]


@dataclass(frozen=True, slots=True)
class Place:
    """A token of a text: its own text, and the characters where it stands, of the first or the second text."""

    text: str
    start: int
    end: int
    second: bool = False


@dataclass(frozen=True, slots=True)
class Classes:
    """Scores of one text, or of its tokens.

    Attributes:
        labels: a name for each class.
        scores: ``float64[classes]``, or ``float64[tokens, classes]``.
        places: where the tokens stand, special ones left out; None for the scores of a whole text.
    """

    labels: tuple[str, ...]
    scores: Array
    places: tuple[Place, ...] | None = None

    @property
    def best(self) -> list[str]:
        """The label of the highest score, of the text or of each token."""
        return [self.labels[index] for index in np.atleast_2d(self.scores).argmax(axis=-1)]


def classify(
    model: TextModel, texts: Sequence[Text], how: Reading | None = None, *, output: str | None = None,
    scores: Scores | None = None,
) -> list[Classes]:  # fmt: skip
    """The scores of each text.

    Args:
        model: a session that reads texts.
        texts: texts; pairs where the model compares two, such as a question and a passage.
        how: batches, truncation, progress.
        output: name of the output of scores, ``logits`` by default.
        scores: what is made of them: ``softmax`` (one class is right), ``sigmoid`` (each is right or not) or ``none``;
            by default softmax, and none where there is a single class.

    Raises:
        TaskError: FX0801, the model has no scores of classes; FX2003, ``scores`` is none of these; FX2005, scores are
            not finite; and what :meth:`TextModel.read` raises.
        UserError: FX2102, there are more or fewer labels than classes.
    """
    require_text_model(model)
    if scores is not None and scores not in get_args(Scores):
        raise TaskError.of(
            "FX2003", "scores is out of range", path="scores", expected=", ".join(get_args(Scores)), found=str(scores),
            cure="correct scores",
        )  # fmt: skip
    name = logits_of(model.session.interface, output, head="classes")
    rows: dict[int, Classes] = {}
    for read in model.read(texts, how):
        labels = names_of(model, read.outputs[name], name)
        given = texts[read.index]
        parts = (given,) if isinstance(given, str) else given
        rows[read.index] = _classes(
            read, name, labels, parts=parts, how=scores or ("none" if len(labels) == 1 else "softmax")
        )
    return [rows[index] for index in range(len(rows))]


def names_of(model: TextModel, values: Array, name: str) -> tuple[str, ...]:
    """A name for each class of a row's scores."""
    count = values.shape[-1]
    if values.ndim == 2 and model.labels is None and count >= model.tokenizer.vocab_size:
        raise TaskError.of(
            "FX0801", f"the output {name} scores tokens of the vocabulary", path=name,
            expected="scores of classes", found=f"{count} for each token",
            cure="use flexit fill-mask or flexit generate, or export a model with a head of classes",
        )  # fmt: skip
    if model.labels is None:
        return tuple(str(index) for index in range(count))
    if len(model.labels) != count:
        raise UserError.of(
            "FX2102", "there is not one label for each class", path="labels.json", expected=f"{count} labels",
            found=f"{len(model.labels)} ({', '.join(model.labels[:5])})",
            cure="name each class, in the order of the scores",
        )  # fmt: skip
    return model.labels


def _classes(read: Read, name: str, labels: tuple[str, ...], *, parts: Sequence[str], how: Scores) -> Classes:
    values = read.scores(name)
    if values.ndim == 1:
        return Classes(labels, _made(values, how))
    own = np.flatnonzero(np.array(read.encoding.special_tokens_mask) == 0)
    places = tuple(_place(read.encoding, int(slot), parts) for slot in own)
    return Classes(labels, _made(read.per_token(name)[own], how), places)


def _place(encoding: Any, slot: int, parts: Sequence[str]) -> Place:
    """Where a token stands, and what stands there."""
    (start, end), second = encoding.offsets[slot], encoding.sequence_ids[slot] == 1
    text = parts[int(second)][start:end]
    return Place(text or encoding.tokens[slot], start, end, second)


def _made(values: Array, how: Scores) -> Array:
    if how == "softmax":
        return probabilities(values)
    wide = values.astype(np.float64)
    return 0.5 + 0.5 * np.tanh(wide / 2) if how == "sigmoid" else wide
