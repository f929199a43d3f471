"""What tasks that tell classes apart have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.ir.wording import several
from flexit.runtime.train.fields import Factor
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._reading import token_rows


class Classification(Task):
    """Which of some classes something belongs to."""

    classes: ClassVar[bool] = True

    labels: list[str] = Field(default_factory=list[str])
    """Names of the classes in the order of the scores; none: those that the data has, sorted, numbers by size."""
    label_smoothing: Factor = 0.0
    """Share of each label that is spread over all classes (Szegedy et al. 2016)."""

    def unfit_labels(self, setting: Setting) -> Iterator[Fault]:
        count = setting.program.outputs["logits"].dims[-1]
        if len(setting.labels) != count or len(set(setting.labels)) != len(setting.labels):
            yield Fault(
                code="FX1510", field="labels", message="not the classes that the model has scores for",
                expected=f"{count} names, each another one",
                found=f"{len(setting.labels)}: {several(setting.labels[:12])}",
                cure=f"set n_labels of the model to {len(set(setting.labels))}, or name the classes in labels",
            )  # fmt: skip

    def rows(self, program: Program) -> dict[str, int]:
        return {TOKENIZER: token_rows(program, scored=False)}
