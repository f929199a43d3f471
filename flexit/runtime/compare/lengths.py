"""A trained model on rows of other lengths than it was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flexit.ir.analysis.cost import position_limit
from flexit.runtime.compare.results import CANNOT
from flexit.runtime.train.config import Batch
from flexit.runtime.train.data.material import Material
from flexit.runtime.train.run import Plan, make_trainer
from flexit.runtime.train.saving import checkpoint


def by_length(
    plan: Plan, material: Material, folder: Path, *, lengths: Sequence[int]
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """What an evaluation tells in rows of each length, in batches of as many tokens as in training.

    Args:
        plan: of the run.
        material: its data.
        folder: a checkpoint of it.
        lengths: tokens of the rows.

    Returns:
        By length, the metrics of the evaluation; or under ``cannot`` why there are none.

    Raises:
        UserError: too little held-out text for a row; or what an evaluation raises.
    """
    limit = position_limit(plan.model.program)
    found: dict[str, dict[str, Any]] = {}
    for length in lengths:
        if limit is not None and length > limit:
            found[str(length)] = {CANNOT: f"its table of positions has {limit} rows"}
        else:
            found[str(length)] = _at(plan, material, folder, length=length)
    return found


def _at(plan: Plan, material: Material, folder: Path, *, length: int) -> dict[str, float]:
    config = plan.config
    size = max(1, config.batch.size * config.data.seq_len // length)
    data = config.data.model_copy(update={"seq_len": length, "workers": 0})
    longer = config.model_copy(update={"data": data, "batch": Batch(size=size), "compile": None, "weights_from": None})
    there = replace(material, config=longer, setting=replace(material.setting, seq_len=length))
    trainer = make_trainer(replace(plan, config=longer), there, progress=False)
    checkpoint.copy_weights(checkpoint.read_weights(trainer.model, folder), trainer.model)
    average = checkpoint.read_average(folder)
    if average is not None and trainer.average is not None:
        checkpoint.copy_weights(average, trainer.average)
    assert config.evaluate is not None
    return trainer.evaluate(max_batches=config.evaluate.max_batches)
