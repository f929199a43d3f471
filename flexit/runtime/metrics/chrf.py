"""``chrf``: character n-grams that generated texts share with the right ones, by sacrebleu."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, ClassVar

from pydantic import Field

from flexit.runtime.metric import Evidence, Metric, Texts


class Chrf(Metric, kind="chrf"):
    """chrF of the whole corpus, from 0 to 100, as sacrebleu computes it (Popović 2015)."""

    source: ClassVar[str] = "Popović 2015, 2017"
    reads: ClassVar[tuple[Evidence, ...]] = ("texts",)

    word_order: Annotated[int, Field(ge=0, le=6)] = 0
    """Longest n-grams of words that count too; 2: chrF++ (Popović 2017)."""

    @property
    def name(self) -> str:
        return f"chrf_{self.word_order}" if self.word_order else "chrf"

    def missing(self) -> str | None:
        return None if find_spec("sacrebleu") else "sacrebleu"

    def of(self, seen: Texts) -> float:
        from sacrebleu.metrics.chrf import CHRF

        return float(CHRF(word_order=self.word_order).corpus_score(list(seen.found), [list(seen.wanted)]).score)
