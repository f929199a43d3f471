"""``regression``: one number per target for a whole row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from flexit.ir.blocks._row_head import RowHead


class Regression(RowHead, kind="regression"):
    """Pool, dense, dropout, linear: a number per target."""

    formula = "y = W act(D pool(x)) + b"
    source = "Devlin et al. 2019, arXiv 1810.04805, section 4.1 (STS-B)"
    also_called: ClassVar[Mapping[str, str]] = {"regressor": "", "regression_head": ""}
    examples = (
        {"kind": "regression", "n_labels": 3, "pool": "mean", "dense": {}, "dropout": 0.1},
        {
            "kind": "regression", "n_labels": 2, "pool": "last", "bias": False,
            "dense": {"dim": 5, "norm": "layer_norm", "bias": True},
        },
        {"kind": "regression", "n_labels": 1},
    )  # fmt: skip
