"""How much memory a run will take at its peak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from flexit.ir.analysis.cost import cost
from flexit.ir.program import Program
from flexit.runtime.train.config import RunConfig


@dataclass(frozen=True, slots=True)
class Load:
    """What of a run its memory depends on, beside the model.

    Attributes:
        rows: per forward.
        seq: tokens per row, or by length symbol.
        moments: numbers that the optimizer keeps for each parameter.
        ema: whether there is a mean of the weights.
        recompute: whether layers are computed again in backward.
        whole_loss: whether the loss keeps an array of the size of the scores beside their gradient, as PyTorch's does.
    """

    rows: int
    seq: int | Mapping[str, int]
    moments: int
    ema: bool
    recompute: bool
    whole_loss: bool = False


def training_memory(program: Program, config: RunConfig) -> int:
    """Predicted bytes beyond an idle process: that of AdamW in fp32, with what the run config changes.

    Not taken off are the narrower results of ``bf16`` and ``fp16``, and what ``compile`` fuses.
    """
    return predicted(program, Load(
        config.batch.size, config.data.seq_len, config.optimizer.moments, config.ema is not None, config.recompute,
    ))  # fmt: skip


def predicted(program: Program, load: Load) -> int:
    """The same of a load."""
    needs = cost(program, batch=load.rows, seq=load.seq, recompute=load.recompute)
    moments = (load.moments - 2) * (needs.parameters - needs.frozen)
    mean = needs.parameters if load.ema else 0
    return needs.training_peak + 4 * (moments + mean + needs.scores * load.whole_loss)


def lighter(program: Program, load: Load, *, accumulate: int) -> Iterator[tuple[str, int]]:
    """What may be lowered, each by itself, and the memory that is then predicted.

    Args:
        program: of the model.
        load: as it is.
        accumulate: forwards per update, as it is.
    """
    if load.rows > 1:
        rows = load.rows // 2
        yield f"batch.size {rows} with accumulate {2 * accumulate}", predicted(program, replace(load, rows=rows))
    seq = {"": load.seq} if isinstance(load.seq, int) else load.seq
    half = {name: max(1, length // 2) for name, length in seq.items()}
    if max(seq.values(), default=1) > 1:
        shorter = replace(load, seq=half[""] if isinstance(load.seq, int) else half)
        yield f"data.seq_len {max(half.values())}", predicted(program, shorter)
    if not load.recompute:
        yield "recompute: true", predicted(program, replace(load, recompute=True))
    if load.moments:
        yield "an optimizer without moments, such as adafactor", predicted(program, replace(load, moments=0))
