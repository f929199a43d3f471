"""What the feed-forward kinds share."""

from __future__ import annotations

from pydantic import Field

from flexit.ir.language.kinds import Group


class MlpBias(Group):
    """Which projections of a feed-forward have a bias."""

    in_: bool = Field(default=False, alias="in")
    """Up and gate."""
    out: bool = False
    """Down."""


def biases(bias: bool | MlpBias) -> MlpBias:
    """The written-out form."""
    return bias if isinstance(bias, MlpBias) else MlpBias(**dict.fromkeys(("in", "out"), bias))
