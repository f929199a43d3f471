"""``token_classifier``: one score per class for each position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from flexit.ir.block import Block, EdgeName
from flexit.ir.blocks._dense import Dense, in_dense
from flexit.ir.expansion.edges import Logits, Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.kinds import PositiveInt, Probability


class TokenClassifier(Block, kind="token_classifier"):
    """Dense, dropout, linear, per position."""

    formula = "z_t = W act(D x_t) + b"
    source = "Devlin et al. 2019, arXiv 1810.04805, section 5.3 (CoNLL-2003)"
    also_called: ClassVar[Mapping[str, str]] = {"ner": "", "tagger": "", "token_classification": ""}
    output: ClassVar[EdgeName | Literal["same"]] = "logits"
    examples = (
        {"kind": "token_classifier", "n_labels": 3, "dropout": 0.1},
        {"kind": "token_classifier", "n_labels": 1, "bias": False, "dense": {"activation": "gelu", "bias": True}},
        {"kind": "token_classifier", "n_labels": 2, "dense": {"dim": 5, "norm": "rms_norm"}},
    )

    n_labels: PositiveInt
    """Classes."""
    dense: Dense | None = None
    """A hidden layer (ELECTRA: gelu, with a bias)."""
    dropout: Probability = 0.0
    """Before the linear map."""
    bias: bool = True
    """Of the linear map."""

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        return in_dense(self.dense, path) or super().child(path)

    def expand(self, e: Expander, x: Sequence) -> Logits:
        h = x.x if self.dense is None else self.dense.apply(e, x.x)
        return Logits(x=e.linear(e.dropout(h, self.dropout), self.n_labels, "out", bias=self.bias, role="head"))
