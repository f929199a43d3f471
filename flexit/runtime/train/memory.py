"""How much memory a run will take at its peak."""

from __future__ import annotations

from flexit.ir.analysis.cost import cost
from flexit.ir.program import Program
from flexit.runtime.train.config import RunConfig


def training_memory(program: Program, config: RunConfig) -> int:
    """Predicted bytes beyond an idle process: that of AdamW in fp32, with what the run config changes.

    Not taken off are the narrower results of ``bf16`` and ``fp16``, and what ``compile`` fuses.
    """
    needs = cost(program, batch=config.batch.size, seq=config.data.seq_len, recompute=config.recompute)
    moments = (config.optimizer.moments - 2) * (needs.parameters - needs.frozen)
    mean = 0 if config.ema is None else needs.parameters
    pieces = 0 if config.losses.chunk is None else 4 * needs.scores
    return needs.training_peak + 4 * (moments + mean) - pieces
