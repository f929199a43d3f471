"""``token_classification``: which of some classes each word of a text belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.train.task import Setting
from flexit.runtime.train.tasks._classes import Classification
from flexit.runtime.train.tasks._reading import inputs_of, one_text, read_words

if TYPE_CHECKING:
    from flexit.runtime.train.data.ragged import Ragged
    from flexit.runtime.train.data.store import Row, Store

IGNORED = -100


class TokenClassification(Classification, kind="token_classification"):
    """Which of some classes each word of a text belongs to, by its first token.

    The model needs one input of tokens and an output ``logits`` with scores for each.
    """

    columns: ClassVar[Mapping[str, str]] = {"tokens": "the words", "labels": "the class of each"}

    shows: ClassVar[tuple[Evidence, ...]] = (
        "labels",
        "tags",
    )
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "f1",
    )

    def misfits(self, program: Program) -> Iterator[Fault]:
        yield from one_text(program, self.kind)
        scores = program.outputs.get("logits")
        if scores is None or len(scores.dims) != 3:
            yield Fault(
                code="FX0801", field="", message="the model does not classify tokens",
                expected="an output logits with scores for each token",
                found="none" if scores is None else "one row of scores per text",
                cure="end the spec with a block token_classifier",
            )  # fmt: skip

    def texts(self, values: Mapping[str, Any], setting: Setting, place: str, *, file: str) -> Iterator[str]:
        del file
        yield " ".join(self._list(values, "tokens", setting, place=place))

    def names(self, values: Mapping[str, Any], setting: Setting, place: str) -> Iterator[str]:
        yield from self._list(values, "labels", setting, place=place)

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        words, labels = (self._list(values, name, setting, place=place) for name in ("tokens", "labels"))
        if len(words) != len(labels):
            raise setting.unfit("labels", place, expected=f"{len(words)}, one per word", found=str(len(labels)))
        unknown = [label for label in labels if label not in setting.labels]
        if unknown:
            raise setting.unfit("labels", place, expected=f"some of {', '.join(setting.labels[:12])}", found=unknown[0])
        row, word_ids = read_words(words, setting, place)
        known = [setting.labels.index(label) for label in labels]
        found = [
            IGNORED if word is None or word == before else known[word] for before, word in pairwise([None, *word_ids])
        ]  # fmt: skip
        return {**row, "labels": np.asarray(found, np.int32)}

    @staticmethod
    def _list(values: Mapping[str, Any], column: str, setting: Setting, *, place: str) -> list[str]:
        value: Any = setting.value(values, column, place)
        listed = cast("list[Any]", value) if isinstance(value, list) else []
        if not listed or not all(isinstance(each, str | int) and not isinstance(each, bool) for each in listed):
            raise setting.unfit(column, place, expected="a list of texts", found=str(value)[:60])
        return [setting.sound(str(each), column, place) for each in listed]

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Ragged, Ragged]:
        from flexit.runtime.train.data.labelled import LabelledTokens
        from flexit.runtime.train.data.ragged import halves

        collate = LabelledTokens(inputs_of(setting))
        return halves(store, collate, share, longest=["ids"])
