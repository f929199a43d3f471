"""``regression``: a number for each text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._reading import inputs_of, one_text, read, token_rows

if TYPE_CHECKING:
    from flexit.runtime.train.config import Losses
    from flexit.runtime.train.data.ragged import Ragged
    from flexit.runtime.train.data.store import Row, Store
    from flexit.runtime.train.update.loss import SquaredError

LARGEST = float(np.finfo(np.float32).max)
"""Magnitude of a label."""


class Regression(Task, kind="regression"):
    """A number for a text or a pair of texts, by the square of the error.

    The model needs one input of tokens and an output ``logits`` of one number per text.
    """

    columns: ClassVar[Mapping[str, str]] = {"text": "the text", "label": "its number"}
    scores: ClassVar[bool] = False
    unit: ClassVar[str] = ""
    optional: ClassVar[Mapping[str, str]] = {"text_pair": "a second text"}

    shows: ClassVar[tuple[Evidence, ...]] = ("numbers",)
    metrics: ClassVar[tuple[str, ...]] = ("spearman",)

    def misfits(self, program: Program) -> Iterator[Fault]:
        yield from one_text(program, self.kind)
        scores = program.outputs.get("logits")
        if scores is None or len(scores.dims) != 2 or scores.dims[-1] != 1:
            yield Fault(
                code="FX0801", field="", message="the model gives no number for a text",
                expected="an output logits with one number per text",
                found="none" if scores is None else f"logits [{', '.join(map(str, scores.dims))}]",
                cure="end the spec with a block regression",
            )  # fmt: skip

    def rows(self, program: Program) -> dict[str, int]:
        return {TOKENIZER: token_rows(program, scored=False)}

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        value = setting.value(values, "label", place)
        try:
            label = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            label = math.nan
        if not abs(label) <= LARGEST:
            raise setting.unfit("label", place, expected=f"a number up to {LARGEST:.2g}", found=str(value)[:60])
        return {**read(values, setting, place), "labels": np.asarray([label], np.float32)}

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Ragged, Ragged]:
        from flexit.runtime.train.data.labelled import Labelled
        from flexit.runtime.train.data.ragged import halves

        collate = Labelled(inputs_of(setting))
        return halves(store, collate, share, longest=["ids"])

    def loss(self, losses: Losses) -> SquaredError:
        from flexit.runtime.train.update.loss import SquaredError

        return SquaredError(router_balance=losses.router_balance, router_z=losses.router_z)
