"""``mlm_head``: the scores of a masked language model (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, cast

from pydantic import Field

from flexit.ir.block import Block, Inferred, Norm, Surroundings
from flexit.ir.blocks._dense import Dense, in_dense
from flexit.ir.blocks._table_head import TableHead
from flexit.ir.expansion.edges import Logits, Sequence
from flexit.ir.expansion.expander import Expander
from flexit.ir.language.activations import Activation
from flexit.ir.language.kinds import InferredInt, choose


def _layer_norm() -> Norm:
    return cast(Norm, choose(Norm, "layer_norm"))


class MlmDense(Dense):
    """A hidden layer with the defaults of BERT."""

    dim: InferredInt = None
    """Its width; inferred: the table's when tied (ALBERT, ELECTRA), else the input's."""
    activation: Activation | None = "gelu"
    """Its function."""
    norm: Norm | None = Field(default_factory=_layer_norm)
    """After the activation."""
    bias: bool = True
    """Of the linear map."""


class MlmHead(TableHead, kind="mlm_head"):
    """Dense, activation, norm, then the table."""

    formula = "z = E norm(act(W x + a)) + b"
    source = "Devlin et al. 2019 (BERT), arXiv 1810.04805; Hugging Face's BertLMPredictionHead"
    also_called: ClassVar[Mapping[str, str]] = {"bert_head": "", "mlm": "", "masked_lm": "", "masked_lm_head": ""}
    examples = (
        {"kind": "mlm_head", "vocab_size": 31},
        {"kind": "mlm_head", "vocab_size": 31, "dense": None, "bias": False},
        {
            "kind": "mlm_head", "vocab_size": 31,
            "dense": {"dim": 6, "activation": "relu", "norm": "rms_norm", "bias": False},
        },
    )  # fmt: skip

    bias: bool = True
    """On the logits."""
    dense: MlmDense | None = Field(default_factory=MlmDense)
    """A hidden layer; null: none (EuroBERT)."""

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        return in_dense(self.dense, path) or super().child(path)

    def inferred(self, around: Surroundings) -> Iterator[Inferred]:
        yield from super().inferred(around)
        if self.dense is not None and self.dense.dim is None:
            table = around.tables.get(self.tied_to or "")
            yield (
                Inferred("dense.dim", around.width, "= width of x") if table is None
                else Inferred("dense.dim", table.width, f"from {self.tied_to}")
            )  # fmt: skip

    def expand(self, e: Expander, x: Sequence) -> Logits:
        h, widened = x.x, ("dense", "delete dense: null, so that a map to {width} comes first")
        if self.dense is not None:
            table = self.table(e)
            h = self.dense.apply(e, h, dim=None if table is None else table.width)
            widened = ("dense.dim", "delete dim, which is {width} then")
        return Logits(x=self.scores(e, h, bias=self.bias, widened=widened))
