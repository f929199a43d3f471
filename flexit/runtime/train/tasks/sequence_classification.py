"""``sequence_classification``: which of some classes a text belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.train.fields import Factor
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._classes import not_the_classes
from flexit.runtime.train.tasks._reading import Inputs, one_text, read, token_rows

if TYPE_CHECKING:
    from flexit.runtime.train.config import Losses
    from flexit.runtime.train.data.ragged import Ragged
    from flexit.runtime.train.data.store import Row, Store
    from flexit.runtime.train.loss import CrossEntropy


class SequenceClassification(Task, kind="sequence_classification"):
    """Which of some classes a text, or a pair of texts, belongs to.

    The model needs one input of tokens and an output ``logits`` with one row of scores per text.
    """

    columns: ClassVar[Mapping[str, str]] = {"text": "the text", "label": "its class"}
    optional: ClassVar[Mapping[str, str]] = {"text_pair": "a second text"}
    classes: ClassVar[bool] = True

    labels: list[str] = Field(default_factory=list[str])
    """Names of the classes in the order of the scores; none: those that occur in the data, sorted."""
    label_smoothing: Factor = 0.0
    """Share of each label that is spread over all classes (Szegedy et al. 2016)."""

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

    def unfit_labels(self, setting: Setting) -> Iterator[Fault]:
        yield from not_the_classes(setting)

    def rows(self, program: Program) -> dict[str, int]:
        return {TOKENIZER: token_rows(program, scored=False)}

    def names(self, values: Mapping[str, Any], setting: Setting, place: str) -> Iterator[str]:
        yield self._label(values, setting, place)

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
        return str(value)

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Ragged, Ragged]:
        from flexit.runtime.train.data.labelled import Labelled
        from flexit.runtime.train.data.ragged import Ragged
        from flexit.runtime.train.data.split import split_rows

        collate = Labelled(Inputs.of(setting))
        training, held_out = (
            Ragged(store.columns, rows, collate, longest=["ids"]) for rows in split_rows(store.hashes, share)
        )
        return training, held_out

    def loss(self, losses: Losses) -> CrossEntropy:
        from flexit.runtime.train.loss import CrossEntropy

        return CrossEntropy(
            router_balance=losses.router_balance, router_z=losses.router_z, z_loss=losses.z_loss, chunk=losses.chunk,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
