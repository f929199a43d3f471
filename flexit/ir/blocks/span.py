"""``span``: where an extracted answer starts and ends (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName
from flexit.ir.expansion.edges import Logits, Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import Probability


class Span(Block, kind="span"):
    """One linear map to two scores per position: of the answer's first token, and of its last."""

    formula = "[start_t, end_t] = W x_t + b"
    source = "Devlin et al. 2019, arXiv 1810.04805, section 4.2 (SQuAD)"
    also_called: ClassVar[Mapping[str, str]] = {"qa": "", "question_answering": ""}
    output: ClassVar[EdgeName | Literal["same"]] = "logits"
    main_output: ClassVar[str] = "start_logits"
    more_outputs: ClassVar[tuple[str, ...]] = ("end_logits",)
    examples = ({"kind": "span", "dropout": 0.1}, {"kind": "span", "bias": False})

    dropout: Probability = 0.0
    """Before the linear map."""
    bias: bool = True
    """Of the linear map."""

    def expand(self, e: Expander, x: Sequence) -> dict[str, Logits]:
        scores = e.linear(e.dropout(x.x, self.dropout), 2, "out", bias=self.bias, role="head")
        start, end = (e.reshape(part, "=0", "=1") for part in e.split(scores, [1, 1]))
        return {"start_logits": Logits(x=start), "end_logits": Logits(x=end)}
