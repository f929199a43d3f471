"""The proof of an export: both backends over the grid, on the given and on stress weights, optimised and not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np

from flexit.errors import ProofError
from flexit.ir.program import Program
from flexit.runtime.proof.compare import Tokens, cached, greedy, whole
from flexit.runtime.proof.grid import Case, cases, inputs_for
from flexit.runtime.proof.localise import first_difference
from flexit.runtime.proof.margins import Margins
from flexit.runtime.session import Array, Session

TOLERANCE = {"fp32": 1e-4}
"""Largest relative error by precision."""
MOST_INCONCLUSIVE = 0.01
"""Of greedy tokens, and of routing choices."""
MOST_LEFT_OUT = 0.5
"""Of sequences, because of one routing choice or more."""
REDRAWS = 8

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the evidence: one session, one set of weights, one way to run, over all cases."""

    weights: str
    optimised: bool
    run: str
    cases: int
    error: float
    tokens: Tokens = field(default_factory=Tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was compared and how well it agreed; stored in the bundle's manifest.

    Attributes:
        sequences: rows of inputs that were drawn for the cases, each for every session.
        redrawn: those drawn again because a routing choice (top-k) was too close to call.
        undecided: those left out because it still was after the last draw.
        choices, close: routing choices that were looked at in all draws, and those too close to call.
    """

    precision: str
    tolerance: float
    rows: tuple[Row, ...]
    sequences: int = 0
    redrawn: int = 0
    undecided: int = 0
    choices: int = 0
    close: int = 0
    scope: str = (
        "two lowerings of one program (PyTorch and ONNX Runtime) compared; whether the program says what the spec's "
        "author meant is not part of it"
    )

    @property
    def error(self) -> float:
        """The largest error."""
        return max(row.error for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One set of weights in both backends.

    Attributes:
        reference: PyTorch.
        session: opens ONNX Runtime with graph optimisation on or off.
        margins: for inputs, the relative margins of the top-k choices of each row, in the reference.
    """

    name: str
    weights: Mapping[str, Array]
    reference: Session
    session: Callable[[bool], Session]
    margins: Margins


def prove(
    program: Program, subjects: Iterable[Subject], *, seed: int = 0, progress: Progress | None = None
) -> Evidence:
    """Compare every subject's sessions with its reference, one session at a time.

    Raises:
        ProofError: an error above the tolerance (the first differing block is named), a greedy token that differs, or
            too many choices too close to call.
    """
    rows: list[Row] = []
    draws = Draws()
    for subject in subjects:
        for optimised in (False, True):
            if progress is not None:
                progress(f"{subject.name} weights, graph optimisation {'on' if optimised else 'off'}")
            found, drawn = _compared(program, subject, optimised, seed=seed)
            rows += found
            draws += drawn
    evidence = Evidence(precision="fp32", tolerance=TOLERANCE["fp32"], rows=tuple(rows), **asdict(draws))
    _require_conclusive(evidence)
    return evidence


def _compared(program: Program, subject: Subject, optimised: bool, *, seed: int) -> tuple[list[Row], Draws]:
    """The rows of one session, which is closed afterwards."""
    proof = _Run(program, subject, subject.session(optimised), TOLERANCE["fp32"], np.random.default_rng(seed))
    return proof.rows(optimised), proof.draws


@dataclass(frozen=True, slots=True)
class Draws:
    """What was drawn for a session.

    Attributes:
        sequences: rows of inputs. redrawn: those drawn again. undecided: those left out.
        choices: routing choices looked at. close: those too close to call.
    """

    sequences: int = 0
    redrawn: int = 0
    undecided: int = 0
    choices: int = 0
    close: int = 0

    def __add__(self, other: Draws) -> Draws:
        return Draws(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(slots=True)
class _Run:
    """All cases of one session against its reference."""

    program: Program
    subject: Subject
    session: Session
    tolerance: float
    rng: np.random.Generator
    draws: Draws = field(default_factory=Draws)

    def rows(self, optimised: bool) -> list[Row]:
        whole_error, cached_error, tokens, n_whole, n_cached = 0.0, 0.0, Tokens(), 0, 0
        for case in cases(self.program):
            inputs, kept = self._drawn(case)
            error = whole(self.program, (self.session, self.subject.reference), inputs, kept=kept)
            self._require(error, str(case), inputs)
            whole_error, n_whole = max(whole_error, error), n_whole + 1
            if self.program.decoded is None or "logits" not in self.program.outputs:
                continue
            full = self.subject.reference.run(inputs)["logits"]
            error, found, expected = cached(self.session, inputs, case=case, full=full, kept=kept)
            self._require(error, f"cached decode, {case}", inputs)
            cached_error, n_cached = max(cached_error, error), n_cached + 1
            tokens += greedy(found, expected, self.tolerance)
        common: dict[str, Any] = {"weights": self.subject.name, "optimised": optimised}
        found_rows = [Row(**common, run="whole", cases=n_whole, error=whole_error)]
        if n_cached:
            found_rows.append(Row(**common, run="cached", cases=n_cached, error=cached_error, tokens=tokens))
        return found_rows

    def _drawn(self, case: Case) -> tuple[dict[str, Array], Array]:
        """Inputs of a case, and which rows to compare: those whose routing is too close to call are drawn again, and
        left out where that does not help.
        """
        inputs = inputs_for(self.program, case, self.rng)
        close = self._close(inputs)
        redrawn = 0
        for _ in range(REDRAWS):
            if not close.any():
                break
            redrawn += int(close.sum())
            fresh = inputs_for(self.program, case, self.rng)
            inputs = {name: _by_rows(close, fresh[name], array) for name, array in inputs.items()}
            close = self._close(inputs)
        self.draws += Draws(sequences=len(close), redrawn=redrawn, undecided=int(close.sum()))
        return inputs, ~close

    def _close(self, inputs: Mapping[str, Array]) -> Array:
        """Rows with a routing choice too close to call; the choices are counted."""
        margins = self.subject.margins(inputs)
        close = margins < self.tolerance
        self.draws += Draws(choices=int(np.isfinite(margins).sum()), close=int(close.sum()))
        return np.asarray(close.any(axis=1))

    def _require(self, error: float, what: str, inputs: Mapping[str, Array]) -> None:
        if error <= self.tolerance:
            return
        first = first_difference(self.program, self.subject.weights, inputs, tolerance=self.tolerance)
        where = (
            f"the first block that differs is {first.path} ({first.error:.1e})"
            if first
            else ("every block agrees when run whole, so the fault lies in a state")
        )
        raise ProofError(
            f"{self.subject.name} weights, {what}: ONNX Runtime differs from PyTorch by {error:.1e}, "
            f"more than {self.tolerance:.0e}; {where}. Nothing was written."
        )


def _by_rows(chosen: Array, fresh: Array, old: Array) -> Array:
    return np.where(chosen.reshape(-1, *(1,) * (old.ndim - 1)), fresh, old)


def _require_conclusive(evidence: Evidence) -> None:
    flat = evidence.close > MOST_INCONCLUSIVE * evidence.choices
    if flat or evidence.undecided > MOST_LEFT_OUT * evidence.sequences:
        raise ProofError(
            f"{evidence.close} of {evidence.choices} routing choices are too close to call (1 % may be), for which "
            f"{evidence.undecided} of {evidence.sequences} sequences were left out (half may be): the router's scores "
            "are nearly flat. Nothing was written."
        )
    tokens = sum((row.tokens for row in evidence.rows), Tokens())
    if tokens.different:
        raise ProofError(f"{tokens.different} of {tokens.compared} greedy tokens differ. Nothing was written.")
    if tokens.compared and tokens.inconclusive > MOST_INCONCLUSIVE * tokens.compared:
        raise ProofError(
            f"{tokens.inconclusive} of {tokens.compared} greedy tokens are too close to call, more than 1 %: the "
            "model's scores are nearly flat. Nothing was written."
        )
