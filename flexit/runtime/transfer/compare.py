"""Whether the new model computes what the old one does: both are run on the same tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flexit.ir.analysis.cost import position_limit
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.runtime.transfer.plan import rows_of_tokens
from flexit.runtime.transfer.vocabulary import Rows

ROWS, TOKENS = 4, 24
SAME = 1e-5
"""Largest relative difference of outputs that are called the same."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How far the outputs of both models are apart.

    Attributes:
        differences: by output, the largest difference by the largest number; of scores of tokens, those that both know.
        why_not: why nothing was compared, where that is empty.
    """

    differences: Mapping[str, float]
    why_not: str = ""

    @property
    def same(self) -> bool:
        """Whether all outputs are the same but for rounding."""
        return bool(self.differences) and all(value <= SAME for value in self.differences.values())

    @property
    def said(self) -> str:
        """The same as a sentence."""
        if not self.differences:
            return f"not compared with the old model: {self.why_not}"
        far = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        word = "computes what the old model does" if self.same else "computes something else than the old model"
        return f"{word}: largest relative difference of {far}"


def compare(
    old: tuple[Spec, Program, Mapping[str, Any]], new: tuple[Spec, Program, Mapping[str, Any]], *, rows: Rows | None,
    seed: int = 0,
) -> Compared:  # fmt: skip
    """Run both models in fp32 on random tokens that both know.

    Args:
        old: spec, program and weights of the old model.
        new: those of the new one.
        rows: of tokens, if the vocabulary is another.
        seed: of the tokens.
    """
    why = _why_not(old[1], new[1])
    if why:
        return Compared({}, why)
    given = _tokens(old[1], new[1], rows, seed=seed)
    if given is None:
        return Compared({}, "the two vocabularies have no token in common")
    first, second = (_run(spec, weights, ids) for (spec, _, weights), ids in zip((old, new), given, strict=True))
    n_old = rows_of_tokens(old[1])
    differences: dict[str, float] = {}
    for name, value in first.items():
        other = second.get(name)
        if other is None:
            continue
        if rows is not None and value.shape[-1] == n_old and other.shape[-1] == len(rows.index):
            known = np.flatnonzero(rows.index >= 0)
            value, other = value[..., rows.index[known]], other[..., known]  # noqa: PLW2901
        if value.shape == other.shape:
            differences[name] = float(np.abs(value - other).max() / max(float(np.abs(value).max()), 1e-30))
    return Compared(differences, "" if differences else "no output is of one shape in both")


def _why_not(old: Program, new: Program) -> str:
    required = [{entry.name: entry.role for entry in each.inputs if not entry.optional} for each in (old, new)]
    if required[0] != required[1]:
        return "its inputs are others"
    if any(role != "ids" for role in required[0].values()):
        return "it reads something else than tokens"
    return "" if set(old.outputs) & set(new.outputs) else "its outputs are others"


def _tokens(
    old: Program, new: Program, rows: Rows | None, *, seed: int
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Ids for each model that mean the same tokens."""
    random = np.random.default_rng(seed)
    limits = [limit for limit in (position_limit(old), position_limit(new), TOKENS) if limit is not None]
    shape = (ROWS, min(limits))
    table = rows_of_tokens(old) or 1
    here, there = np.arange(table), np.arange(table)
    if rows is not None:
        here = np.flatnonzero(rows.index >= 0)
        there = rows.index[here]
    if not len(here):
        return None
    first: dict[str, Any] = {}
    second: dict[str, Any] = {}
    small = min(_smallest(old), _smallest(new))
    everywhere = here[(here == there) & (here < small)]  # of any table: token types, or a decoder's tokens
    for entry in (entry for entry in old.inputs if not entry.optional):
        if not first:
            chosen = random.integers(0, len(here), shape)
            first[entry.name], second[entry.name] = there[chosen], here[chosen]
        elif len(everywhere):
            first[entry.name] = second[entry.name] = random.choice(everywhere, shape)
        else:
            return None
    return first, second


def _smallest(program: Program) -> int:
    """Rows of the smallest table that ids are looked up in."""
    sizes = [param.shape[0] for param in program.params() if param.role in ("embedding", "token_type")]
    return min(sizes, default=1)


def _run(spec: Spec, weights: Mapping[str, Any], ids: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    from flexit.lower.torch.module import to_torch

    module = to_torch(spec, weights, dtype=torch.float32).eval()
    with torch.no_grad():
        outputs = module(**{name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in ids.items()})
    return {name: value.double().numpy() for name, value in outputs.items()}
