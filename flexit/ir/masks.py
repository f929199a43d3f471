"""Which keys a query sees, as the language says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from flexit.ir.language import Kind, PositiveInt
from flexit.ir.ops.mask import Piece


class Mask(Kind, family="Mask"):
    """Which keys a query sees; padding is always hidden."""

    is_causal: ClassVar[bool] = False

    def spans(self) -> Iterator[tuple[str, int]]:
        """Fields that limit how far apart queries and keys may be, with the distance."""
        window: int | None = getattr(self, "window", None)
        if window is not None:
            yield "window", window

    def pieces(self) -> Iterator[Piece]:
        """The conditions of the primitive op."""
        raise NotImplementedError


class Full(Mask, kind="full"):
    """Every unpadded key."""

    later: ClassVar[tuple[str, ...]] = ("chunk", "keep_first")

    window: PositiveInt | None = None
    """Only keys with |q - k| <= window, in ranks."""

    def pieces(self) -> Iterator[Piece]:
        if self.window is not None:
            yield Piece("window_both", self.window)


class Causal(Mask, kind="causal"):
    """Keys whose slot is not after the query's."""

    is_causal: ClassVar[bool] = True
    later: ClassVar[tuple[str, ...]] = ("chunk", "keep_first")

    window: Annotated[int, Field(ge=1)] | None = None
    """Only keys with k > q - window, which is ``window`` keys with the own one."""

    def pieces(self) -> Iterator[Piece]:
        yield Piece("causal")
        if self.window is not None:
            yield Piece("window", self.window)
