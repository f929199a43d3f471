"""How expansion gives up on a block: faults that only it shows are recorded, and what reads the block is skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flexit.ir.block import Block, Fault
from flexit.ir.expansion.axes import AxisVocabulary
from flexit.ir.expansion.edges import Sequence
from flexit.ir.program import join


class Unexpanded(Exception):
    """A block could not be expanded; its faults are recorded, and what reads it is skipped."""


class Refusals(AxisVocabulary):
    """Records faults at the path of the block that is being expanded."""

    faults: list[tuple[Block | None, str, Fault]]

    @property
    def absolute(self) -> str:
        """Path of the block being expanded, in the document's graph (of a shared region: of its first call)."""
        return join(self.draft.absolute, self.draft.path())

    def refuse(self, block: Block, *faults: Fault) -> None:
        """Record faults that only expansion shows, and give the block up.

        Raises:
            Unexpanded: if there is any fault.
        """
        if faults:
            self.faults += [(block, self.absolute, fault) for fault in faults]
            raise Unexpanded

    def refuse_in(self, block: Block, name: str, fault: Fault) -> None:
        """Record a fault of the block about to be expanded at ``name``, and give it up.

        Raises:
            Unexpanded: always.
        """
        self.faults.append((block, join(self.absolute, name), fault))
        raise Unexpanded

    def require(self, holds: bool) -> None:
        """Give the block up because of faults recorded before.

        Raises:
            Unexpanded: unless ``holds``.
        """
        if not holds:
            raise Unexpanded

    def require_ports(self, block: Block, name: str, ports: Mapping[str, Any]) -> None:
        """A block in a field of another reads what it is handed there, and needs nothing else.

        Raises:
            Unexpanded: it does not; the faults are recorded.
        """
        found = list(_misfits(block, ports))
        if found:
            self.faults += [(block, join(self.absolute, name), fault) for fault in found]
            raise Unexpanded

    def require_like(self, block: Block, field_name: str, y: Any, *, x: Sequence) -> None:
        """What a layer or body returns must be a sequence of the width and length it was given.

        Raises:
            Unexpanded: it is not.
        """
        if not isinstance(y, Sequence):
            self.refuse(block, Fault(
                code="FX0302", field=field_name, message="changes the type of the edge", expected="a sequence",
                found=str(getattr(y, "type_name", "a list")), cure="end it with a block that returns a sequence",
            ))  # fmt: skip
        elif y.width != x.width:
            self.refuse(block, Fault(
                code="FX0401", field=field_name, message="changes the width",
                expected=f"width {x.width}, as it is given", found=str(y.width),
                cure=f"end it with a linear with d_out: {x.width}",
            ))  # fmt: skip
        elif y.axis is not x.axis:
            same = y.axis.seq == x.axis.seq
            self.refuse(block, Fault(
                code="FX0402", field=field_name, expected=x.axis.described, found=y.axis.described,
                message=f"changes the {'positions' if same else 'length'}",
                cure="end it with an add from x and others, which keeps x's" if same else "undo it with an upsample",
            ))  # fmt: skip


def _misfits(block: Block, ports: Mapping[str, Any]) -> Iterator[Fault]:
    for port, edge in ports.items():
        declared = block.inputs.get(port)
        if declared is None and block.takes_extra_ports:
            continue
        given = getattr(edge, "type_name", "list")
        if declared is None or given not in declared.types:
            main, reads = next(iter(block.inputs.items()))
            yield Fault(
                code="FX0302", field="", message=f"{block.kind} cannot stand here",
                expected=f"a block that reads a {given} at the port {port}",
                found=f"{block.kind}, which reads {' or '.join(reads.types)} at the port {main}",
                cure="put another block here",
            )  # fmt: skip
        elif declared.variadic:
            yield Fault(
                code="FX0305", field="", message=f"the port {port} takes two edges or more",
                expected="a list of at least two edges", found=f"the one {given} that is given here",
                cure=f"put a graph here, with {block.kind} and its from: inside",
            )  # fmt: skip
    for port, declared in block.inputs.items():
        if port not in ports and not declared.optional and not ports.keys() - block.inputs.keys():
            yield Fault(
                code="FX0305", field="", message=f"the port {port} is not wired",
                expected=f"a {' or '.join(declared.types)} to read", found=f"only {', '.join(ports)}",
                cure=f"put a graph here, with {block.kind} and its from: inside",
            )  # fmt: skip
