"""How two backends are compared: relative error over unpadded positions, and greedy tokens under teacher forcing.

The error of a row is relative to its own largest number, so that a small row is held to its own scale. But numbers that
cancel leave rounding of the scale of what they were made of, so a row is never measured against less than ``FLOOR`` of
the largest number in all rows. With a tolerance of 1e-4, rounding of 1e-6 of that number passes in every row, and more
passes only in rows that are larger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flexit.ir.analysis.dependence import revises
from flexit.ir.program import Program
from flexit.ir.valid import Counted, Given, Groups, Joined, Part, Valid
from flexit.runtime.proof.grid import Case
from flexit.runtime.sessions.session import Array, Session


@dataclass(frozen=True, slots=True)
class Tokens:
    """Greedy choices compared: all of them, those too close to call, and those that differ."""

    compared: int = 0
    inconclusive: int = 0
    different: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.compared + other.compared, self.inconclusive + other.inconclusive, self.different + other.different
        )


FLOOR = 1e-2
"""Of the largest number in an output: the least that a row of it is measured against."""


def relative_error(found: Array, expected: Array, valid: Array | None = None, *, least: float = 0.0) -> float:
    """max|found - expected| / max|expected| over the valid positions; infinite where anything is not finite.

    Args:
        found: what is in question.
        expected: what it should be.
        valid: positions that are compared, by the first axes; all by default.
        least: what the error is relative to where all of ``expected`` is smaller.
    """
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if valid is not None:
        a, b = a[valid], b[valid]
    if a.size == 0:
        return 0.0
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    return float(np.abs(a - b).max() / max(np.abs(b).max(), least, np.finfo(np.float64).tiny))


def errors_by_row(found: Array, expected: Array, valid: Array | None = None) -> Array:
    """The relative error of each row, ``float64[batch]``, with ``FLOOR``."""
    counted = expected if valid is None else expected[valid]
    least = FLOOR * float(np.abs(counted).max(initial=0.0, where=np.isfinite(counted)))
    flags = [None] * len(expected) if valid is None else list(valid)
    rows = zip(found, expected, flags, strict=True)
    return np.array([relative_error(*row, least=least) for row in rows])


def validity(program: Program, name: str, inputs: Mapping[str, Array]) -> Array | None:
    """Which positions of an output are no padding, ``bool[batch, seq]``; None where all count.

    Where sequences of one length differ in their padding, those count that are no padding in any of them.
    """
    known = program.valid.get(program.outputs[name].dims[1], ())
    masks = [mask for one in known if (mask := _mask(one, inputs)) is not None]
    return np.logical_and.reduce(masks) if masks else None


def _mask(valid: Valid, inputs: Mapping[str, Array]) -> Array | None:
    """``bool[batch, seq]``; None where a mask is not given, because nothing reads it."""
    match valid:
        case Given(mask):
            return inputs[mask] != 0 if mask in inputs else None
        case Counted(count):
            return np.ones((len(next(iter(inputs.values()))), count), np.bool_)
        case Joined(parts):
            masks = [mask for part in parts if (mask := _mask(part, inputs)) is not None]
            return np.concatenate(masks, axis=1) if len(masks) == len(parts) else None
        case Part(of, start, stop):
            whole = _mask(of, inputs)
            return None if whole is None else whole[:, start:stop]
        case Groups(of, factor):
            members = _mask(of, inputs)
            if members is None:
                return None
            padded = np.pad(members, ((0, 0), (0, -members.shape[1] % factor)))
            return np.asarray(padded.reshape(len(members), -1, factor).any(axis=2))


def whole(
    program: Program, inputs: Mapping[str, Array], *, found: Mapping[str, Array], expected: Mapping[str, Array]
) -> tuple[Array, Counter[str]]:  # fmt: skip
    """Largest error of each row over all outputs of a run without a cache, and how many positions of each count."""
    errors, counted = [], Counter[str]()
    for name, array in expected.items():
        valid = validity(program, name, inputs)
        errors.append(errors_by_row(found[name], array, valid))
        counted[name] = array.size if valid is None else int(valid.sum())
    return np.max(errors, axis=0), counted


@dataclass(frozen=True, slots=True)
class Decoded:
    """Scores of a cached run and of a whole one, ``[batch, n, vocab]``, and which positions are no padding."""

    found: Array
    expected: Array
    unpadded: Array

    def greedy(self, kept: Array, tolerance: float) -> Tokens:
        """Best tokens of the rows ``bool[batch]`` that are kept."""
        chosen = self.unpadded & kept[:, None]
        return greedy(self.found[chosen], self.expected[chosen], tolerance)


def cached(
    program: Program, sessions: tuple[Session, Session], inputs: Mapping[str, Array], *, case: Case, whole: Array
) -> Decoded:  # fmt: skip
    """A cached run (prefill of the past, then the new tokens) of a session beside a whole run of the reference; beside
    a cached one where later tokens change what a whole run says of earlier ones, and so what upper layers keep.

    Args:
        program: of both.
        sessions: the one in question, and the reference.
        inputs: past and new tokens together.
        case: how many of them are past.
        whole: scores of the reference's whole run, ``[batch, length, vocab]``.
    """
    session, reference = sessions
    found, at = _stepped(session, inputs, case)
    expected = _stepped(reference, inputs, case)[0] if revises(program) else whole[:, at]
    _, mask = session.interface.require_decoded()
    return Decoded(found, expected, inputs[mask.name][:, at] != 0)


def _stepped(session: Session, inputs: Mapping[str, Array], case: Case) -> tuple[Array, Array]:
    """Scores of a prefill and a step, and their slots."""
    ids, mask = session.interface.require_decoded()
    beside = session.interface.taken_beside(inputs)
    others = {name: array for name, array in inputs.items() if name not in (ids.name, mask.name, *beside)}
    tokens, valid = inputs[ids.name], inputs[mask.name]
    first = case.past or 1
    early = {name: array[:, :first] for name, array in beside.items()}
    late = {name: array[:, first:] for name, array in beside.items()}
    prompt = {**others, **early, ids.name: tokens[:, :first], mask.name: valid[:, :first]}
    scores = [session.start(prompt)[:, None]]
    places = [np.array([first - 1])]
    if first < tokens.shape[1]:
        scores.append(session.step(tokens[:, first:], valid[:, first:], others=late))
        places.append(np.arange(first, tokens.shape[1]))
    return np.concatenate(scores, axis=1), np.concatenate(places)


def greedy(found: Array, expected: Array, tolerance: float) -> Tokens:
    """Best tokens of ``[n, vocab]`` scores; a margin below the tolerance (of the largest score) is no verdict."""
    if found.shape[0] == 0 or found.shape[-1] < 2:
        return Tokens()
    top = np.sort(expected.astype(np.float64), axis=-1)
    close = top[:, -1] - top[:, -2] < 2 * tolerance * np.abs(expected).max()
    differ = found.argmax(-1) != expected.argmax(-1)
    return Tokens(len(found), int(close.sum()), int((differ & ~close).sum()))
