"""Which keys a query sees, as the language says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.language.kinds import Kind, PositiveInt
from flexit.ir.ops.mask import Piece

if TYPE_CHECKING:
    from flexit.ir.expansion.edges import Axis
    from flexit.ir.expansion.expander import Expander
    from flexit.ir.program import Value


class Mask(Kind, family="Mask"):
    """Which keys a query sees; padding is always hidden."""

    is_causal: ClassVar[bool] = False
    """Whether no key comes after its query."""
    is_cached: ClassVar[bool] = False
    """Whether keys of earlier steps are kept: what comes later changes nothing for a token that is no prefix."""
    reads_prefix: ClassVar[bool] = False
    """Whether it goes by ``prefix_lengths``."""

    def spans(self) -> Iterator[tuple[str, int]]:
        """Fields that limit how far apart queries and keys may be, with the distance."""
        for field in ("window", "chunk"):
            size: int | None = getattr(self, field, None)
            if size is not None:
                yield field, size

    def check(self) -> Iterator[Fault]:
        """Faults that the fields alone show."""
        if getattr(self, "keep_first", 0) and not any(self.spans()):
            yield Fault(
                code="FX0501", field="keep_first", message="has no effect",
                expected="0, since there is neither window nor chunk", found=str(getattr(self, "keep_first", 0)),
                cure="delete keep_first, or write window",
            )  # fmt: skip

    def pieces(self) -> Iterator[Piece]:
        """The conditions of the primitive op."""
        raise NotImplementedError

    def expand(self, e: Expander, axis: Axis) -> Value:
        """``bool[batch, 1, 1 | seq, keys]`` for queries and keys on ``axis``."""
        return e.mask(
            axis, tuple(self.pieces()), keep_first=getattr(self, "keep_first", 0), causal=self.is_cached,
            prefix=self.reads_prefix,
        )  # fmt: skip


class Full(Mask, kind="full"):
    """Every unpadded key."""

    formula = (
        "query i sees every unpadded key j where |i - j| <= window, i // chunk = j // chunk; the first keep_first "
        "always"
    )
    source = "Devlin et al. 2019, arXiv 1810.04805; window: Beltagy et al. 2020, arXiv 2004.05150"
    also_called: ClassVar[Mapping[str, str]] = {"none": "", "all": "", "bidirectional": ""}

    window: PositiveInt | None = None
    """Only keys with |q - k| <= window, in ranks; costs and memory are those of all keys."""
    chunk: PositiveInt | None = None
    """Only keys with q // chunk = k // chunk, in ranks (Llama 4); composes with window."""
    keep_first: Annotated[int, Field(ge=0)] = 0
    """The row's first unpadded tokens stay visible outside window and chunk (streaming attention)."""

    def pieces(self) -> Iterator[Piece]:
        if self.window is not None:
            yield Piece("window_both", self.window)
        if self.chunk is not None:
            yield Piece("chunk", self.chunk)


class Causal(Mask, kind="causal"):
    """Keys whose slot is not after the query's."""

    formula = (
        "query i sees key j where j <= i, i - j < window, i // chunk = j // chunk; of those before, the first "
        "keep_first always"
    )
    source = (
        "Vaswani et al. 2017, arXiv 1706.03762; window: Beltagy et al. 2020, arXiv 2004.05150, and Jiang et al. 2023 "
        "(Mistral), arXiv 2310.06825; kept keys: Xiao et al. 2023, arXiv 2309.17453"
    )
    also_called: ClassVar[Mapping[str, str]] = {
        "autoregressive": "", "sliding_window": "window", "sliding": "window", "local": "window",
        "chunked": "chunk",
    }  # fmt: skip
    usual: ClassVar[bool] = True
    is_causal: ClassVar[bool] = True
    is_cached: ClassVar[bool] = True

    window: PositiveInt | None = None
    """Only keys with k > q - window, which is ``window`` keys with the own one; the cache keeps all keys, and
    costs count them.
    """
    chunk: PositiveInt | None = None
    """Only keys with q // chunk = k // chunk, in ranks (Llama 4); composes with window."""
    keep_first: Annotated[int, Field(ge=0)] = 0
    """The row's first unpadded tokens stay visible outside window and chunk (streaming attention)."""

    def pieces(self) -> Iterator[Piece]:
        yield Piece("causal")
        if self.window is not None:
            yield Piece("window", self.window)
        if self.chunk is not None:
            yield Piece("chunk", self.chunk)


class Prefix(Mask, kind="prefix"):
    """Causal, or both among the row's first ``prefix_lengths`` unpadded tokens (prefix language models)."""

    formula = (
        "query i sees key j where j <= i, i - j < window, or where both are among the first prefix_lengths unpadded "
        "tokens"
    )
    source = "Raffel et al. 2020, arXiv 1910.10683, section 3.2.1"
    also_called: ClassVar[Mapping[str, str]] = {"prefix_lm": ""}
    is_cached: ClassVar[bool] = True
    reads_prefix: ClassVar[bool] = True

    window: PositiveInt | None = None
    """On the causal part: only keys with k > q - window; the cache keeps all keys, and costs count them."""

    def pieces(self) -> Iterator[Piece]:
        yield Piece("causal")
        if self.window is not None:
            yield Piece("window", self.window)
