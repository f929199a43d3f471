"""What is wrong with how a run config wants its held-out data looked at, and with what goes by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flexit.ir.block import Fault
from flexit.ir.language.kinds import choose
from flexit.ir.wording import nearest, several
from flexit.runtime.metric import LOSS, Evidence, Metric, by_evidence, faults
from flexit.runtime.train.config import RunConfig


def metrics_of(config: RunConfig) -> list[Metric]:
    """The metrics of a run config: those that it names, else the usual ones of its task."""
    if config.evaluate is None:
        return []
    if config.evaluate.metrics is not None:
        return config.evaluate.metrics
    found = (choose(Metric, kind) for kind in config.task.metrics)
    return [each for each in found if isinstance(each, Metric) and by_evidence(each, _shown(config)) is not None]


def _shown(config: RunConfig) -> tuple[Evidence, ...]:
    return config.task.shown(texts=config.data.tokenizer is not None)


def metric_faults(config: RunConfig, names: Sequence[str]) -> Iterator[tuple[str, Fault]]:
    """What stands against the metrics, each with the path of one.

    Args:
        config: the run config.
        names: of the classes, where they are known.
    """
    for index, wrong in faults(metrics_of(config), _shown(config), names):
        yield f"evaluate.metrics.{index}", wrong


def evaluation_faults(config: RunConfig) -> Iterator[tuple[str, Fault]]:
    """Faults, each with the path of the part that has it."""
    yield from metric_faults(config, getattr(config.task, "labels", ()))
    yield from _texts(config)
    yield from watching_faults(config)
    stopping, keep = config.early_stopping, config.checkpoint
    if stopping is not None and config.evaluate is None:
        yield "early_stopping", Fault(
            code="FX1531", field="", message="there is nothing to stop by", expected="evaluate and data.validation",
            found="neither", cure="add evaluate: {every: 200} and validation: {split: 0.05} under data, or delete it",
        )  # fmt: skip
        return
    if keep.best != LOSS and not keep.keep_best:
        yield "checkpoint", Fault(
            code="FX1531", field="best", message="has no effect without keep_best", expected="keep_best of 1 or more",
            found="0", cure="add keep_best: 1, or delete best",
        )  # fmt: skip
    elif keep.keep_best and config.evaluate is not None:
        yield from _unknown(config, "checkpoint", "best", name=keep.best)
    if stopping is not None:
        yield from _unknown(config, "early_stopping", "metric", name=stopping.metric)


def watching_faults(config: RunConfig) -> Iterator[tuple[str, Fault]]:
    """What is wrong with how a run config wants its run watched."""
    if config.sample is not None and not config.task.generates:
        yield "sample", Fault(
            code="FX1532", field="", message=f"{config.task.kind} makes no texts", expected="causal_lm or seq2seq",
            found=config.task.kind, cure="delete sample",
        )  # fmt: skip
    if config.sample is not None and config.data.tokenizer is None:
        yield "sample", Fault(
            code="FX1532", field="", message="there is no tokenizer that reads prompts", expected="data.tokenizer",
            found="none", cure="add tokenizer: {kind: file, path: tokenizer.json} under data, or delete sample",
        )  # fmt: skip
    if config.statistics is not None and config.compile is not None:
        yield "statistics", Fault(
            code="FX1532", field="", message="compiled code shows nothing of what is inside", expected="compile: null",
            found=config.compile, cure="delete compile or statistics",
        )  # fmt: skip
    kinds = [each.kind for each in config.track]
    for index, each in enumerate(config.track):
        if each.kind in kinds[:index]:
            yield f"track.{index}", Fault(
                code="FX1532", field="", message="a tracker twice", expected="each once", found=each.kind,
                cure="delete one of them",
            )  # fmt: skip
        elif (lacks := each.lacks()) is not None:
            yield f"track.{index}", Fault(
                code="FX1608", field="", message=f"{each.kind} needs {lacks}, which is not installed", expected=lacks,
                found="nothing of this name", cure=f"pip install {lacks}",
            )  # fmt: skip


def _texts(config: RunConfig) -> Iterator[tuple[str, Fault]]:
    evaluate = config.evaluate
    if evaluate is None or evaluate.max_new_tokens is None:
        return
    if not any("texts" in each.reads for each in metrics_of(config)):
        yield "evaluate", Fault(
            code="FX1530", field="max_new_tokens", message="has no effect without a metric that generates texts",
            expected="one of exact_match, bleu, chrf, word_error, error_rate", found="none of them",
            cure="delete max_new_tokens, or add such a metric",
        )  # fmt: skip


def _unknown(config: RunConfig, path: str, field: str, *, name: str) -> Iterator[tuple[str, Fault]]:
    known = [LOSS, *(each.name for each in metrics_of(config))]
    if name not in known:
        yield path, Fault(
            code="FX1531", field=field, message="evaluations do not tell this", expected=several(known), found=name,
            cure=f"write {nearest(name, known) or LOSS}, or add the metric to evaluate.metrics",
        )  # fmt: skip
