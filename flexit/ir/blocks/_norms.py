"""What the norm kinds share."""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.block import Fault


def inert_gain_offset(gain: object, offset: float) -> Iterator[Fault]:
    """``gain_offset`` without a gain."""
    if not gain and offset != 0.0:
        yield Fault(
            code="FX0501", field="gain_offset", message="has no effect", expected="0.0, since gain is off",
            found=str(offset), cure="delete gain_offset, or set gain: true",
        )  # fmt: skip
