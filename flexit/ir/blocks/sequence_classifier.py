"""``sequence_classifier``: one score per class for a whole row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from flexit.ir.blocks._row_head import RowHead


class SequenceClassifier(RowHead, kind="sequence_classifier"):
    """Pool, dense, dropout, linear: a score per class."""

    formula = "z = W act(D pool(x)) + b"
    source = "Devlin et al. 2019, arXiv 1810.04805, section 4.1"
    also_called: ClassVar[Mapping[str, str]] = {
        "classifier": "", "classification": "", "classification_head": "", "cls_head": "",
    }  # fmt: skip
    examples = (
        {"kind": "sequence_classifier", "n_labels": 3, "pool": "mean", "dense": {}, "dropout": 0.1},
        {
            "kind": "sequence_classifier", "n_labels": 2, "pool": "last", "bias": False,
            "dense": {"dim": 5, "norm": "layer_norm", "bias": True},
        },
        {"kind": "sequence_classifier", "n_labels": 1},
    )  # fmt: skip
