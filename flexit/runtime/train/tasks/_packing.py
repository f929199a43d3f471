"""Which inputs of a model keep the documents of a row apart, and whether it can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from flexit.ir.block import Fault
from flexit.ir.program import Program

if TYPE_CHECKING:
    from flexit.runtime.train.data.stream import Packing

Pack = Literal["joined", "documents"]


def packing_of(program: Program, pack: Pack) -> Packing:
    """The inputs that a way of packing needs."""
    from flexit.runtime.train.data.stream import Packing

    if pack == "joined":
        return Packing()
    found = {entry.role: entry.name for entry in program.inputs if entry.role in ("document_ids", "position_ids")}
    return Packing(found["document_ids"], found.get("position_ids"))


def cannot_pack(program: Program, pack: Pack) -> Iterator[Fault]:
    """What stands against it."""
    if pack == "documents" and program.why_not_packed:
        yield Fault(
            code="FX0512", field="pack", message="the model would mix packed documents",
            expected="attention and mixers that can keep to a document", found=program.why_not_packed,
            cure="write pack: joined",
        )  # fmt: skip
