"""``bits_per_byte``: what the text costs for each of its bytes, which tokenizers share."""

from __future__ import annotations

from math import log
from typing import ClassVar

from flexit.runtime.metric import Evidence, Likelihood, Metric


class BitsPerByte(Metric, kind="bits_per_byte"):
    """Bits that the labels cost for each byte of their text in UTF-8; separators cost, and have no bytes."""

    formula: ClassVar[str] = "sum(-log2 p) / bytes"
    source: ClassVar[str] = "Gao et al. 2020 (The Pile, arXiv 2101.00027, section 3.1)"
    reads: ClassVar[tuple[Evidence, ...]] = ("bytes",)
    higher: ClassVar[bool] = False

    def of(self, seen: Likelihood) -> float:
        return seen.nats / log(2) / seen.n_bytes if seen.n_bytes else float("nan")
