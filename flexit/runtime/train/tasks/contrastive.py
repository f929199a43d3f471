"""``contrastive``: vectors of texts that belong together, near each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flexit.ir.block import Fault
from flexit.ir.language.kinds import PositiveFloat
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._reading import inputs_of, one_text, read, token_rows

if TYPE_CHECKING:
    from flexit.runtime.train.config import Losses
    from flexit.runtime.train.data.ragged import Ragged
    from flexit.runtime.train.data.store import Row, Store
    from flexit.runtime.train.update.loss import InBatch


class Contrastive(Task, kind="contrastive"):
    """Vectors of texts, each nearest to the one of its batch that belongs to it (van den Oord et al. 2018).

    The model needs one input of tokens and one output of a vector per text.
    """

    columns: ClassVar[Mapping[str, str]] = {"anchor": "a text", "positive": "one that belongs to it"}
    by: ClassVar[tuple[str, ...]] = ("anchor.ids",)
    scores: ClassVar[bool] = False

    shows: ClassVar[tuple[Evidence, ...]] = ("vectors",)
    metrics: ClassVar[tuple[str, ...]] = ("recall",)
    temperature: PositiveFloat = 0.05
    """What cosines are divided by."""

    def misfits(self, program: Program) -> Iterator[Fault]:
        yield from one_text(program, self.kind)
        found = vectors(program)
        if len(found) != 1:
            yield Fault(
                code="FX0801", field="", message="the model has no vector for a text",
                expected="one output with one vector per text", found=", ".join(found) or "none",
                cure="end the spec with a block pool, as mpnet-base does",
            )  # fmt: skip

    def rows(self, program: Program) -> dict[str, int]:
        return {TOKENIZER: token_rows(program, scored=False)}

    def texts(self, values: Mapping[str, Any], setting: Setting, place: str, *, file: str) -> Iterator[str]:
        del file
        for column in self.columns:
            yield setting.text(values, column, place)

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        return {
            f"{column}.{name}": array
            for column in self.columns
            for name, array in read(values, setting, place, column=column).items()
        }

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Ragged, Ragged]:
        from flexit.runtime.train.data.labelled import Paired
        from flexit.runtime.train.data.ragged import halves

        collate = Paired(inputs_of(setting))
        return halves(store, collate, share, longest=["anchor.ids", "positive.ids"])

    def loss(self, losses: Losses) -> InBatch:
        from flexit.runtime.train.update.loss import InBatch

        return InBatch(
            self.temperature, router_balance=losses.router_balance, router_z=losses.router_z
        )  # fmt: skip


def vectors(program: Program) -> list[str]:
    """Outputs of one vector per text."""
    return [name for name, value in program.outputs.items() if len(value.dims) == 2]
