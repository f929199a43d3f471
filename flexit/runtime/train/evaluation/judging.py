"""The judge of a run config: its metrics, held against the classes that its data has."""

from __future__ import annotations

from flexit.errors import RunConfigError
from flexit.ir.language.written import Node
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.evaluation.evaluation_faults import metric_faults, metrics_of
from flexit.runtime.train.evaluation.judge import Background, Judge
from flexit.runtime.train.read import placed_fault
from flexit.runtime.train.task import Setting


def judge_of(config: RunConfig, root: Node, setting: Setting) -> Judge:
    """What tells the metrics of a run.

    Args:
        config: the run config.
        root: the tree it came from.
        setting: of its task, with the names of its classes.

    Raises:
        RunConfigError: FX1530, a metric does not go with the classes.
    """
    problems = [placed_fault(root, path, each) for path, each in metric_faults(config, setting.labels)]
    if problems:
        raise RunConfigError(problems)
    asked = None if config.evaluate is None else config.evaluate.max_new_tokens
    return Judge(metrics_of(config), Background(config.task, setting, asked or config.data.seq_len))
