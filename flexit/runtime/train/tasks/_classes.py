"""What tasks that tell classes apart have in common."""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.block import Fault
from flexit.ir.wording import several
from flexit.runtime.train.task import Setting


def not_the_classes(setting: Setting) -> Iterator[Fault]:
    """What stands against the classes: the model has scores for others."""
    count = setting.program.outputs["logits"].dims[-1]
    if len(setting.labels) != count or len(set(setting.labels)) != len(setting.labels):
        yield Fault(
            code="FX1510", field="labels", message="not the classes that the model has scores for",
            expected=f"{count} names, each another one",
            found=f"{len(setting.labels)}: {several(setting.labels[:12])}",
            cure=f"set n_labels of the model to {len(set(setting.labels))}, or name the classes in labels",
        )  # fmt: skip
