"""Is the model of a size that a computer could hold?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel

from flexit.errors import Problem
from flexit.ir.analysis.cost import count_parameters
from flexit.ir.block import Block, Fault
from flexit.ir.checks.walk import Walk, plan_of
from flexit.ir.language.layers import LayerPlan, Varied

if TYPE_CHECKING:
    from flexit.ir.program import Program

MOST_PARAMETERS = 10**14
MOST_LAYERS = 100_000
MOST_CHANNELS = 10**7
"""Of a width, or heads: a square matrix of one more has more parameters than a model may have."""


def check_layers(walk: Walk) -> Iterator[Problem]:
    """FX0109, for stacks inside stacks that have more layers together than one may have."""
    for name, block in walk.spec.blocks.items():
        count = _layers(block)
        if count > MOST_LAYERS:
            yield walk.document.problem(name, Fault(
                code="FX0109", field="", message="more layers than the limit, those inside layers counted",
                expected=f"at most {MOST_LAYERS:,}", found=f"{count:,}", cure="make the stacks inside it shorter",
            ))  # fmt: skip


def check_widths(walk: Walk) -> Iterator[Problem]:
    """FX0109, for widths of which tables are made number by number (frequencies, slopes) before anything is counted."""
    for site in walk.sites:
        for field, value in _widths(site.block):
            if value > MOST_CHANNELS:
                yield site.problem(Fault(
                    code="FX0109", field=field, message="more channels or heads than the limit",
                    expected=f"at most {MOST_CHANNELS:,}", found=f"{value:,}", cure=f"make {field} smaller",
                ))  # fmt: skip


def _widths(group: BaseModel, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Widths and counts of heads among the fields of a block, and of the groups in it."""
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, BaseModel) and not isinstance(value, Block):
            yield from _widths(value, f"{prefix}{name}.")
        elif isinstance(value, int) and (name in ("d_model", "dim", "n_heads", "n_kv_heads") or name.endswith("_dim")):
            yield f"{prefix}{name}", value


def _layers(block: Block) -> int:
    if not isinstance(block, Varied):
        return sum(_layers(inner) for _, inner in block.inside())
    plan = plan_of(block) or LayerPlan.of(block)
    counts = Counter(plan.choices)
    return sum(counts[choice] * (1 + _layers(layer)) for choice, layer, _ in plan.distinct())


def check_size(walk: Walk, program: Program) -> Iterator[Problem]:
    """FX0109, at the block with the most parameters."""
    if count_parameters(program) <= MOST_PARAMETERS:
        return
    sizes: dict[str, int] = {}
    for param in program.params():
        name = param.path.partition(".")[0]
        sizes[name] = sizes.get(name, 0) + param.size
    name = max(sizes, key=sizes.__getitem__)
    yield walk.document.problem(name, Fault(
        code="FX0109", field="", message="more parameters than the limit", expected=f"at most {MOST_PARAMETERS:,}",
        found=f"{sum(sizes.values()):,}, of which {sizes[name]:,} here", cure="make the model smaller",
    ))  # fmt: skip
