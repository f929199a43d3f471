"""``sequence_classification``: which of some classes a text belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.train.task import Setting
from flexit.runtime.train.tasks._classes import Classification
from flexit.runtime.train.tasks._reading import inputs_of, one_text, read

if TYPE_CHECKING:
    from flexit.runtime.train.data.ragged import Ragged
    from flexit.runtime.train.data.store import Row, Store


class SequenceClassification(Classification, kind="sequence_classification"):
    """Which of some classes a text, or a pair of texts, belongs to.

    The model needs one input of tokens and an output ``logits`` with one row of scores per text.
    """

    columns: ClassVar[Mapping[str, str]] = {"text": "the text", "label": "its class"}
    optional: ClassVar[Mapping[str, str]] = {"text_pair": "a second text"}

    shows: ClassVar[tuple[Evidence, ...]] = ("labels",)
    metrics: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "f1",
    )

    def misfits(self, program: Program) -> Iterator[Fault]:
        yield from one_text(program, self.kind)
        scores = program.outputs.get("logits")
        if scores is None or len(scores.dims) != 2:
            yield Fault(
                code="FX0801", field="", message="the model does not classify texts",
                expected="an output logits with one row of scores per text",
                found="none" if scores is None else "scores for each token",
                cure="end the spec with a block sequence_classifier, as tiny-bert-classifier does",
            )  # fmt: skip

    def names(self, values: Mapping[str, Any], setting: Setting, place: str) -> Iterator[str]:
        label = self._label(values, setting, place)
        if not label.strip():
            raise setting.unfit("label", place, expected="the name of a class", found="an empty text")
        yield label

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        label = self._label(values, setting, place)
        if label not in setting.labels:
            raise setting.unfit(
                "label", place, expected=f"one of {', '.join(setting.labels[:12])}", found=label
            )  # fmt: skip
        return {**read(values, setting, place), "labels": np.asarray([setting.labels.index(label)], np.int32)}

    def _label(self, values: Mapping[str, Any], setting: Setting, place: str) -> str:
        value = setting.value(values, "label", place)
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise setting.unfit("label", place, expected="a text or a whole number", found=str(value)[:60])
        return setting.sound(str(value), "label", place)

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Ragged, Ragged]:
        from flexit.runtime.train.data.labelled import Labelled
        from flexit.runtime.train.data.ragged import halves

        collate = Labelled(inputs_of(setting))
        return halves(store, collate, share, longest=["ids"])
