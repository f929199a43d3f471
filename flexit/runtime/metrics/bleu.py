"""``bleu``: n-grams that generated texts share with the right ones, by sacrebleu."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar, Literal

from flexit.runtime.metric import Evidence, Metric, Texts

Words = Literal["13a", "intl", "char", "none"]


class Bleu(Metric, kind="bleu"):
    """BLEU of the whole corpus, from 0 to 100, as sacrebleu computes it (Papineni et al. 2002, Post 2018)."""

    source: ClassVar[str] = "Papineni et al. 2002; Post 2018 (sacrebleu)"
    reads: ClassVar[tuple[Evidence, ...]] = ("texts",)

    tokenize: Words = "13a"
    """What a word is: as WMT has it, `intl` for other scripts too, each character, or what stands between spaces."""
    lowercase: bool = False
    """Whether case is ignored."""

    def missing(self) -> str | None:
        return None if find_spec("sacrebleu") else "sacrebleu"

    def of(self, seen: Texts) -> float:
        from sacrebleu.metrics.bleu import BLEU

        score = BLEU(tokenize=self.tokenize, lowercase=self.lowercase, force=True)
        return float(score.corpus_score(list(seen.found), [list(seen.wanted)]).score)
