"""The proof of an export: both backends over the grid, on the given and on stress weights, optimised and not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np

from flexit.errors import ProofError
from flexit.ir.program import Program
from flexit.runtime.proof.compare import FLOOR, Decoded, Tokens, cached, errors_by_row, whole
from flexit.runtime.proof.grid import Bounds, Case, cases, inputs_for
from flexit.runtime.proof.localise import Difference, first_difference
from flexit.runtime.proof.margins import Margins
from flexit.runtime.proof.rounding import moves, rounding
from flexit.runtime.sessions.session import Array, Session

TOLERANCE = {"fp32": 1e-4}
"""Largest relative error by precision."""
MOST_INCONCLUSIVE = 0.01
"""Of greedy tokens, of routing choices, and of sequences that stay undecided."""
MOST_EXCUSED = 0.05
"""Of sequences that were drawn, those that differ and have a routing choice too close to call, each time one does."""
REDRAWS = 8
MOST_AMPLIFIED = 20
"""A difference of up to so many times the reference's own rounding may be rounding, too."""

MOST_ROUNDED = 10
"""Tolerances that a row may be over by rounding alone, to be drawn again."""
ROUNDINGS = 24
"""Times that the results of such a row are moved at most: of a model that amplifies, most times move them little."""

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
        floor: of the largest number of a case, what the error of a sequence is relative to at least.
        sequences: rows of inputs that were drawn for the cases, each for every session.
        redrawn: those drawn again because the backends differ on them and a routing choice (top-k) is too close to
            call, so that each may have chosen otherwise, or rounding alone moves PyTorch's own results by half of that
            or more. Where the backends agree, no closeness is an excuse.
        undecided: those left out because the last draw was such a one too.
        choices, close: routing choices that were looked at in all draws, and those too close to call.
    """

    precision: str
    tolerance: float
    floor: float
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
    evidence = Evidence(precision="fp32", tolerance=TOLERANCE["fp32"], floor=FLOOR, rows=tuple(rows), **asdict(draws))
    _require_conclusive(evidence)
    return evidence


def agreed(program: Program, subject: Subject, case: Case, *, seed: int = 0) -> dict[str, Array]:
    """Inputs of a case on which a subject's session, with graph optimisation, agrees with its reference.

    Raises:
        ProofError: they differ, or a choice is too close to call however often they are drawn.
    """
    inputs, _, kept = _run(program, subject, True, seed=seed).settled(case)
    if not kept.all():
        raise ProofError(f"{case}: a choice is too close to call in all of {REDRAWS + 1} draws. Nothing was written.")
    return inputs


def _compared(program: Program, subject: Subject, optimised: bool, *, seed: int) -> tuple[list[Row], Draws]:
    """The rows of one session, which is closed afterwards."""
    proof = _run(program, subject, optimised, seed=seed)
    return proof.rows(), proof.draws


def _run(program: Program, subject: Subject, optimised: bool, *, seed: int) -> _Run:
    return _Run(
        program, subject, subject.session(optimised), optimised, TOLERANCE["fp32"], np.random.default_rng(seed),
        Bounds.of(program),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Draws:
    """What was drawn for a session.

    Attributes:
        sequences: rows of inputs. redrawn: those that differed and were drawn again. undecided: those left out.
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
    optimised: bool
    tolerance: float
    rng: np.random.Generator
    bounds: Bounds
    draws: Draws = field(default_factory=Draws)
    positions: Counter[str] = field(default_factory=Counter)

    def rows(self) -> list[Row]:
        whole_error, cached_error, tokens, n_whole, n_cached = 0.0, 0.0, Tokens(), 0, 0
        for case in cases(self.program):
            _, found, kept = self.settled(case)
            whole_error, n_whole = max(whole_error, found.whole[kept].max(initial=0.0)), n_whole + 1
            if found.decoded is not None:
                cached_error, n_cached = max(cached_error, found.cached[kept].max(initial=0.0)), n_cached + 1
                tokens += found.decoded.greedy(kept, self.tolerance)
        self._require_compared()
        common: dict[str, Any] = {"weights": self.subject.name, "optimised": self.optimised}
        found_rows = [Row(**common, run="whole", cases=n_whole, error=float(whole_error))]
        if n_cached:
            found_rows.append(Row(**common, run="cached", cases=n_cached, error=float(cached_error), tokens=tokens))
        return found_rows

    def settled(self, case: Case) -> tuple[dict[str, Array], _Outcome, Array]:
        """Inputs of a case, what came of them, and which rows agree.

        Rows that differ while a routing choice is too close to call, or by less than rounding alone makes of them, are
        drawn again, and left out where that does not help; rows that differ without that fail the proof.
        """
        inputs = inputs_for(self.program, case, self.rng, bounds=self.bounds)
        found, differ = self._judged(case, inputs)
        redrawn = 0
        for _ in range(REDRAWS):
            if not differ.any():
                break
            redrawn += int(differ.sum())
            fresh = inputs_for(self.program, case, self.rng, bounds=self.bounds)
            inputs = {name: _by_rows(differ, fresh[name], array) for name, array in inputs.items()}
            found, differ = self._judged(case, inputs)
        self.draws += Draws(sequences=len(differ), redrawn=redrawn, undecided=int(differ.sum()))
        return inputs, found, ~differ

    def _judged(self, case: Case, inputs: Mapping[str, Array]) -> tuple[_Outcome, Array]:
        """What came of these inputs, and which rows differ for a choice too close to call, or by rounding."""
        found, close = self._compared(case, inputs), self._close(inputs)
        differ = found.errors > self.tolerance
        excused = (close & np.isfinite(found.errors)) | self._rounded(found, differ & ~close, case=case, inputs=inputs)
        self._require(found, ~differ | excused, case=case, inputs=inputs)
        return found, differ

    def _compared(self, case: Case, inputs: Mapping[str, Array]) -> _Outcome:
        reference = self.subject.reference
        expected = reference.run(inputs)
        errors, counted = whole(self.program, inputs, found=self.session.run(inputs), expected=expected)
        self.positions += counted
        if self.program.decoded is None or case.placed:  # sessions count position ids themselves when they decode
            return _Outcome(errors, np.zeros_like(errors), None)
        sessions = (self.session, reference)
        decoded = cached(self.program, sessions, inputs, case=case, whole=expected["logits"])
        return _Outcome(errors, errors_by_row(decoded.found, decoded.expected, decoded.unpadded), decoded)

    def _require_compared(self) -> None:
        """Refuse an agreement on nothing."""
        never = [name for name in self.program.outputs if not self.positions[name]]
        if never:
            raise ProofError(
                f"no case has a position of output {never[0]} that is no padding, so nothing of it was compared. "
                "Nothing was written."
            )

    def _close(self, inputs: Mapping[str, Array]) -> Array:
        """Rows with a routing choice too close to call (two scores may move against each other); all are counted."""
        margins = self.subject.margins(inputs)
        close = margins < 2 * self.tolerance
        self.draws += Draws(choices=int(np.isfinite(margins).sum()), close=int(close.sum()))
        return np.asarray(close.any(axis=1))

    def _rounded(self, found: _Outcome, rows: Array, *, case: Case, inputs: Mapping[str, Array]) -> Array:
        """A row whose difference is less than what rounding alone makes of it, so that it tells of no fault.

        Each side may be off the exact results by what rounding moves them, so the two differ by at most twice that. Of
        a case one row at most: a model that amplifies rounding on more of them cannot be proven.
        """
        if rows.sum() != 1 or found.errors[rows].max() > MOST_ROUNDED * self.tolerance:
            return np.zeros_like(rows)
        alone = {name: array[rows] for name, array in inputs.items()}
        ways = (None,) if found.decoded is None else (None, case)
        found_by = (
            move[0]
            for at in ways
            for move in moves(self.program, self.subject.weights, alone, case=at, draws=ROUNDINGS)
        )
        error = found.errors[rows].max()
        return rows & any(error <= 2 * move for move in found_by)

    def _require(self, found: _Outcome, fine: Array, *, case: Case, inputs: Mapping[str, Array]) -> None:
        if fine.all():
            return
        run_whole = not fine[found.whole > self.tolerance].all()
        error = (found.whole if run_whole else found.cached)[~fine].max()
        first = first_difference(self.program, self.subject.weights, inputs, rows=~fine, tolerance=self.tolerance)
        where = self._where(first, run_whole)
        if first is None:
            at = None if run_whole else case
            own = float(rounding(self.program, self.subject.weights, inputs, case=at)[~fine].max(initial=0.0))
            where = f"{where}, {_amplified(own)}" if error <= MOST_AMPLIFIED * own else where
        raise ProofError(
            f"{self.subject.name} weights, {'' if run_whole else 'cached decode, '}{case}: ONNX Runtime differs from "
            f"PyTorch by {error:.1e}, more than {self.tolerance:.0e}; {where}. Nothing was written."
        )

    def _where(self, first: Difference | None, run_whole: bool) -> str:
        if first is None and run_whole:
            doing = "which graph optimisation joins or reorders" if self.optimised else "or several small errors add up"
            return f"every block agrees by itself, so the fault lies between blocks, {doing}"
        if first is None:
            return "every block agrees when run whole, so the fault lies in a state"
        named = f"the first block that differs is {first.path} ({first.error:.1e})"
        amplified = first.error <= MOST_AMPLIFIED * first.rounding
        return f"{named}, {_amplified(first.rounding)}" if amplified else named


def _amplified(by: float) -> str:
    return (
        f"where rounding alone moves PyTorch's own results by {by:.1e}: the model amplifies rounding, as a norm of one "
        "feature does"
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The errors of each row of a case: run whole, and with a cache where the model is decoded."""

    whole: Array
    cached: Array
    decoded: Decoded | None

    @property
    def errors(self) -> Array:
        return np.maximum(self.whole, self.cached)


def _by_rows(chosen: Array, fresh: Array, old: Array) -> Array:
    return np.where(chosen.reshape(-1, *(1,) * (old.ndim - 1)), fresh, old)


def _require_conclusive(evidence: Evidence) -> None:
    """Refuse evidence in which too much was left open.

    Raises:
        ProofError: it was, or a greedy token differs.
    """
    _require_choices(evidence)
    _require_few_excuses(evidence)
    _require_tokens(evidence)


def _require_choices(evidence: Evidence) -> None:
    if evidence.close > MOST_INCONCLUSIVE * evidence.choices:
        raise ProofError(
            f"{evidence.close} of {evidence.choices} routing choices are too close to call, more than 1 %: the "
            "router's scores are nearly flat. Nothing was written."
        )


def _require_few_excuses(evidence: Evidence) -> None:
    excused = evidence.redrawn + evidence.undecided
    if evidence.undecided > MOST_INCONCLUSIVE * evidence.sequences or excused > MOST_EXCUSED * evidence.sequences:
        raise ProofError(
            f"ONNX Runtime differs from PyTorch {excused} times on {evidence.sequences} sequences (5 % may be drawn "
            f"again), {evidence.undecided} times to the last (1 % may be left out): each has a routing choice too "
            "close to call, or amplifies rounding, which does not explain so many. Nothing was written."
        )


def _require_tokens(evidence: Evidence) -> None:
    tokens = sum((row.tokens for row in evidence.rows), Tokens())
    if tokens.different:
        raise ProofError(f"{tokens.different} of {tokens.compared} greedy tokens differ. Nothing was written.")
    if tokens.compared and tokens.inconclusive > MOST_INCONCLUSIVE * tokens.compared:
        raise ProofError(
            f"{tokens.inconclusive} of {tokens.compared} greedy tokens are too close to call, more than 1 %: the "
            "model's scores are nearly flat. Nothing was written."
        )
