"""What tasks of an encoder and a decoder have in common."""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.analysis.limits import limits_of
from flexit.ir.block import Fault
from flexit.ir.program import Program

MANY = 2**31 - 1


def two_texts(program: Program, task: str) -> Iterator[Fault]:
    """What stands against reading a source and a target."""
    names = {entry.name for entry in program.inputs if not entry.optional}
    if names != {"input_ids", "decoder_input_ids"} or program.decoded is None or "logits" not in program.outputs:
        yield Fault(
            code="FX0801", field="", message=f"the model cannot do {task}",
            expected="inputs input_ids and decoder_input_ids, and an output logits of a causal decoder",
            found=program.why_not_decoded or f"its inputs are {', '.join(sorted(names))}",
            cure="name an encoder-decoder as model, such as vaswani-base or t5-small",
        )  # fmt: skip


def pair_rows(program: Program) -> tuple[int, int]:
    """Ids of sources, and of targets, that a model knows."""
    known, scores = limits_of(program).ids, program.outputs["logits"].dims[-1]
    target = min(known.get("decoder_input_ids", MANY), scores if isinstance(scores, int) else MANY)
    return known.get("input_ids", MANY), target
