"""Beam search for every session: the best sequences instead of the best next token, by Hugging Face's default rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from flexit.errors import TaskError
from flexit.ir.misfits import unusable
from flexit.runtime.generation.generate import Ends
from flexit.runtime.generation.prompts import beginning, eos_ids, require_finite, require_tokens_alone, seen_tokens
from flexit.runtime.generation.sampling import number, out_of_range, penalised, require_penalty, whole
from flexit.runtime.probabilities import log_probabilities
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.session import Session

MOST_BEAMS = 10_000
"""Sequences that a search follows, each a row of the batch."""
STEEPEST = 20
"""A length to a higher power overflows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beams:
    """How a beam search goes.

    Attributes:
        n_beams: sequences that are followed at once for each prompt.
        length_penalty: a sequence's score is its log-probability over its length to this power; above 0 longer ones
            win more often.
        n_best: how many of the finished sequences are wanted.
        repetition_penalty: as for :class:`~flexit.runtime.generation.sampling.Sampling`, on log-probabilities.
    """

    n_beams: int
    length_penalty: float = 1.0
    n_best: int = 1
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= whole("n_beams", self.n_beams) <= MOST_BEAMS:
            raise out_of_range("n_beams", f"from 1 to {MOST_BEAMS}", self.n_beams)
        if abs(number("length_penalty", self.length_penalty)) > STEEPEST:
            raise out_of_range("length_penalty", f"a number from -{STEEPEST} to {STEEPEST}", self.length_penalty)
        if whole("n_best", self.n_best) < 1:
            raise out_of_range("n_best", "at least 1", self.n_best)
        if self.n_best > self.n_beams:
            raise TaskError.of(
                "FX2003", "n_best is out of range", path="n_best", expected=f"at most {self.n_beams}, as many as beams",
                found=str(self.n_best), cure="follow more beams, or ask for fewer sequences",
            )  # fmt: skip
        require_penalty(self.repetition_penalty)

    def score(self, log_probability: float, length: int) -> float:
        """The score of a sequence of new tokens."""
        return float(log_probability / length**self.length_penalty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A sequence that was found: its new tokens, and its score."""

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sequence that is followed.

    Attributes:
        parent: which of the sequences before it goes on from.
    """

    tokens: tuple[int, ...]
    log_probability: float
    parent: int


@dataclass(slots=True, kw_only=True)
class Search:
    """The search of one prompt.

    Attributes:
        ended: whether new tokens end a sequence.
        spare: candidates looked at for each beam, so that enough go on where others end.
        running: sequences that are followed, best first.
        finished: the best that ended, best first.
    """

    beams: Beams
    prompt: Sequence[int]
    ended: Callable[[Sequence[int]], bool]
    spare: int = 2
    running: list[Running] = field(default_factory=lambda: [Running(tokens=(), log_probability=0.0, parent=0)])
    finished: list[Hypothesis] = field(default_factory=list)

    def candidates(self, scores: Array, *, more: int = 0) -> list[Running]:
        """The best continuations by the scores of the running sequences' next tokens, ``[running, vocab]``."""
        found = log_probabilities(scores)
        if self.beams.repetition_penalty != 1:
            seen = seen_tokens([(*self.prompt, *each.tokens) for each in self.running], found.shape[1])
            found = penalised(found, seen, self.beams.repetition_penalty)
        totals = (found + np.array([each.log_probability for each in self.running])[:, None]).ravel()
        best = largest(totals, self.spare * self.beams.n_beams + more)
        return [
            Running(
                tokens=(*self.running[at // found.shape[1]].tokens, int(at % found.shape[1])),
                log_probability=float(totals[at]), parent=int(at // found.shape[1]),
            )
            for at in best
            if np.isfinite(totals[at])
        ]  # fmt: skip

    def advance(self, scores: Array, *, last: bool) -> None:
        """Go on by a token; with ``last``, every sequence ends with it.

        A sequence counts as finished only if it is among the best ``n_beams`` candidates as it ends.
        """
        found = self.candidates(scores)
        ends = [last or self.ended(each.tokens) for each in found]
        self.finished += [
            Hypothesis(tokens=each.tokens, score=self.beams.score(each.log_probability, len(each.tokens)))
            for each, end in zip(found[: self.beams.n_beams], ends, strict=False)
            if end
        ]
        self.finished = sorted(self.finished, key=lambda each: -each.score)[: self.beams.n_beams]
        self.running = [each for each, end in zip(found, ends, strict=True) if not end][: self.beams.n_beams]

    @property
    def goes_on(self) -> bool:
        """Whether a running sequence may still enter the best, supposing that its score stays as it is."""
        if not self.running:
            return False
        if len(self.finished) < self.beams.n_beams:
            return True
        best = self.running[0]
        return self.beams.score(best.log_probability, len(best.tokens)) > self.finished[-1].score


def beam_search(
    session: Session, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, beams: Beams,
    eos_id: int | Sequence[int] | None = None, pad_id: int = 0, others: Mapping[str, Any] | None = None,
    ends: Ends | None = None,
) -> list[list[Hypothesis]]:  # fmt: skip
    """The best continuations of prompts.

    Args:
        session: any session whose model can be decoded.
        prompts: token ids per row, at least one each.
        max_new_tokens: most tokens per sequence.
        beams: how many are followed, and how they are scored.
        eos_id: token, or tokens, that end a sequence (and are kept), if any.
        pad_id: token written where a row is padded; its value does not matter to the result.
        others: further graph inputs by name, a row of each for each prompt.
        ends: called with a row and the new tokens of one of its sequences; true ends the sequence.

    Returns:
        For each row ``n_best`` sequences, best first; fewer where there are no more.

    Raises:
        TaskError: as :func:`~flexit.runtime.generation.generate.generate`.
    """
    rows, inputs = beginning(session, prompts, max_new_tokens=max_new_tokens, pad_id=pad_id, others=others)
    if not isinstance(cast("object", beams), Beams):
        raise unusable("beams", beams, expected="a flexit.Beams", cure="write Beams(n_beams=4)")
    eos_ids(eos_id, require_tokens_alone(session)[0].limit)
    searches = searches_of(rows, beams, eos_id=eos_id, ends=ends)
    for turn in turns(session, searches, inputs=inputs, max_new_tokens=max_new_tokens):
        turn.search.advance(turn.scores, last=turn.last)
    return [search.finished[: beams.n_best] for search in searches]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A search that is to advance.

    Attributes:
        rows: of the session's batch that are its running sequences.
        scores: of their next tokens.
        last: whether no more tokens follow.
    """

    search: Search
    rows: slice
    scores: Array
    last: bool


def turns(
    session: Session, searches: Sequence[Search], *, inputs: Mapping[str, Any], max_new_tokens: int
) -> Iterator[Turn]:
    """Run a session for searches, which advance when it is their turn."""
    scores = session.start(inputs)
    going = list(searches)
    for step in range(max_new_tokens):
        require_finite(scores, np.zeros(len(scores), np.bool_), step)
        parents: list[int] = []
        first = 0
        for search in going:
            rows = slice(first, first + len(search.running))
            yield Turn(search=search, rows=rows, scores=scores[rows], last=step == max_new_tokens - 1)
            parents += [first + each.parent for each in search.running if search.goes_on]
            first = rows.stop
        going = [search for search in going if search.goes_on]
        if not going:
            return
        session.select(parents)
        scores = session.step([[each.tokens[-1]] for search in going for each in search.running])[:, -1]


def searches_of(
    rows: Sequence[Sequence[int]], beams: Beams, *, eos_id: int | Sequence[int] | None, ends: Ends | None
) -> list[Search]:
    """A search for each prompt that has not begun."""
    last = eos_ids(eos_id)

    def ended(row: int) -> Callable[[Sequence[int]], bool]:
        return lambda tokens: tokens[-1] in last or (ends is not None and ends(row, tokens))

    spare = max(2, 1 + len(last))
    return [Search(beams=beams, prompt=row, ended=ended(at), spare=spare) for at, row in enumerate(rows)]


def largest(values: Array, count: int) -> Array:
    """Where the largest of the values are, the largest first, and of equal ones the first."""
    if count < len(values):
        least = np.partition(values, -count)[-count]
        among = np.flatnonzero(values >= least)
    else:
        among = np.arange(len(values))
    return among[np.argsort(-values[among], kind="stable")[:count]]
