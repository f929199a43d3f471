"""Choices of tokens in two sessions compared: one reads what the other chose, and what is too close to call is counted.

Two scores that are each off by ``e`` may move against each other by ``2 e``: an edge that is nearer than that may fall
either way. So may the logarithm of the odds of any set of tokens, by ``2 e`` over the temperature, and therefore edges
of cumulative probabilities are measured in log-odds. A margin here is in the unit of scores, and compared with ``2 e``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flexit.runtime.generation.beam import Beams, Search, searches_of, turns
from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.prompts import listed, padded, require_tokens_alone, seen_tokens
from flexit.runtime.generation.sampling import Sampling, penalised, probabilities
from flexit.runtime.proof.compare import Tokens
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.interface import Interface
from flexit.runtime.sessions.session import Session


def margins(scores: Array, sampling: Sampling, *, step: int, seen: Array | None = None) -> Array:
    """How near each row's choice is to another one, ``float64[batch]``, in the unit of the scores.

    Args:
        scores: of the next token, ``[batch, vocab]``.
        sampling: how it is chosen.
        step: of the generation, as in :meth:`~flexit.runtime.generation.sampling.Sampling.choose`.
        seen: tokens that each row has.
    """
    found = penalised(scores.astype(np.float64), seen, sampling.repetition_penalty)
    if sampling.temperature == 0:
        ordered = np.sort(found, axis=-1)
        return ordered[:, -1] - ordered[:, -2] if found.shape[1] > 1 else np.full(len(found), np.inf)
    left = sampling.left(scores, seen=seen)
    edges = [sampling.temperature * _odds_margin(probabilities(left).cumsum(axis=-1), sampling.drawn_at(step))]
    hot = found / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < found.shape[1]:
        edges.append(_gap(found, sampling.top_k))
        hot = np.where(found < np.sort(found, axis=-1)[:, -sampling.top_k, None], -np.inf, hot)
    if sampling.top_p is not None and sampling.top_p < 1:
        tail = np.sort(probabilities(hot), axis=-1).cumsum(axis=-1)[:, :-1]
        edges.append(sampling.temperature * _odds_margin(tail, 1 - sampling.top_p))
        edges.append(_between(found, np.isfinite(left)))
    if sampling.min_p:
        away = np.abs(hot.max(axis=-1, keepdims=True) - hot + np.log(sampling.min_p))
        away[np.arange(len(hot)), hot.argmax(axis=-1)] = np.inf  # the best stays whatever happens
        edges.append(sampling.temperature * away.min(axis=-1))
    return np.min(edges, axis=0)


def _between(scores: Array, kept: Array) -> Array:
    """Between the worst that is kept, and the best that is not."""
    return _apart(np.where(kept, scores, np.inf).min(axis=-1), np.where(kept, -np.inf, scores).max(axis=-1))


def _gap(scores: Array, kept: int) -> Array:
    """Between the last that is kept of the best, and the next."""
    ordered = np.sort(scores, axis=-1)[:, ::-1]
    return _apart(ordered[:, kept - 1], ordered[:, kept])


def _apart(better: Array, worse: Array) -> Array:
    """The difference; infinite where the worse one is impossible, whatever the better one is."""
    return np.where(np.isneginf(worse), np.inf, better - np.where(np.isneginf(worse), 0.0, worse))


def _odds_margin(sums: Array, at: float) -> Array:
    """How far the nearest cumulative probability is from a point, in log-odds."""
    tiny = np.finfo(np.float64).tiny
    inner = np.clip(sums, tiny, None), np.clip(1 - sums, tiny, None)
    there = np.log(max(at, tiny)) - np.log(max(1 - at, tiny))
    away = np.abs(np.log(inner[0]) - np.log(inner[1]) - there)
    return np.where((sums <= 0) | (sums >= 1 - 1e-15), np.inf, away).min(axis=-1, initial=np.inf)


def sampled(
    sessions: tuple[Session, Session], prompts: Sequence[Sequence[int]], *, sampling: Sampling, max_new_tokens: int,
    tolerance: float, others: Mapping[str, Any] | None = None,
) -> Tokens:  # fmt: skip
    """Tokens that a session chooses where it has read what the reference chose.

    Args:
        sessions: the one in question, and the reference.
        prompts: to continue.
        sampling: how tokens are chosen.
        max_new_tokens: for each prompt.
        tolerance: largest error of scores, relative to the largest score of a step.
        others: further inputs.
    """
    led = Led(*sessions)
    texts = generate(led, prompts, max_new_tokens=max_new_tokens, sampling=sampling, others=others)
    seen = seen_tokens(listed(prompts), led.pairs[0][1].shape[1])
    counted = Tokens()
    for step, (found, expected) in enumerate(led.pairs):
        chosen = [sampling.choose(scores, step=step, seen=seen) for scores in (found, expected)]
        close = margins(expected, sampling, step=step, seen=seen) < _doubt(expected, tolerance, sampling)
        differ = chosen[0] != chosen[1]
        counted += Tokens(len(differ), int(close.sum()), int((differ & ~close).sum()))
        seen[np.arange(len(texts)), [text[step] for text in texts]] = True
    return counted


def searched(
    sessions: tuple[Session, Session], prompts: Sequence[Sequence[int]], *, beams: Beams, max_new_tokens: int,
    tolerance: float, eos_id: int | None = None, others: Mapping[str, Any] | None = None,
) -> Tokens:  # fmt: skip
    """Steps of a beam search in which a session goes on with the same sequences as the reference.

    Args:
        sessions: the one in question, and the reference.
        prompts: to continue.
        beams: how many are followed.
        max_new_tokens: for each sequence.
        tolerance: largest error of scores, relative to the largest score of a step.
        eos_id: token that ends a sequence.
        others: further inputs.
    """
    led, rows = Led(*sessions), listed(prompts)
    ids, mask = require_tokens_alone(led)
    tokens, valid = padded(rows, 0)
    searches = searches_of(rows, beams, eos_id=eos_id, ends=None)
    inputs = {ids.name: tokens, mask.name: valid, **(others or {})}
    counted = Tokens()
    for turn in turns(led, searches, inputs=inputs, max_new_tokens=max_new_tokens):
        found = led.pairs[-1][0][turn.rows]
        other = replace(turn.search, running=list(turn.search.running), finished=list(turn.search.finished))
        margin = beam_margin(turn.search, turn.scores, last=turn.last)
        other.advance(found, last=turn.last)
        turn.search.advance(turn.scores, last=turn.last)
        close = margin / 2 < _doubt(turn.scores, tolerance, beams)  # two sequences have errors of their own each
        counted += Tokens(1, int(close), int(not close and _outcome(other) != _outcome(turn.search)))
    return counted


def _outcome(search: Search) -> tuple[set[tuple[int, ...]], set[tuple[int, ...]], bool]:
    """Which sequences a search goes on with, which it has finished, and whether it goes on."""
    return {each.tokens for each in search.running}, {each.tokens for each in search.finished}, search.goes_on


def beam_margin(search: Search, scores: Array, *, last: bool) -> float:
    """How near a search is to another outcome of its next step, as a difference of log-probabilities."""
    beams, found = search.beams, search.candidates(scores, more=1)
    totals = [each.log_probability for each in found]
    ends = [last or search.ended(each.tokens) for each in found]
    after = replace(search, running=list(search.running), finished=list(search.finished))
    after.advance(scores, last=last)
    edges = [np.inf]
    if len(found) > beams.n_beams and any(ends[beams.n_beams - 1 : beams.n_beams + 1]):
        edges.append(totals[beams.n_beams - 1] - totals[beams.n_beams])
    going = [total for total, end in zip(totals, ends, strict=True) if not end]
    if len(going) > beams.n_beams:
        edges.append(going[beams.n_beams - 1] - going[beams.n_beams])
    unit = len(found[0].tokens) ** beams.length_penalty if found else 1.0
    ended = [each.score for each in search.finished]
    ended += [total / unit for total, end in zip(totals[: beams.n_beams], ends, strict=False) if end]
    ended.sort(reverse=True)
    if len(ended) > beams.n_beams:
        edges.append(unit * (ended[beams.n_beams - 1] - ended[beams.n_beams]))
    if after.running and len(after.finished) == beams.n_beams:
        edges.append(unit * abs(after.running[0].log_probability / unit - after.finished[-1].score))
    return float(min(edges))


def _doubt(scores: Array, tolerance: float, sampling: Sampling | Beams) -> float:
    """Below this a margin may be closed by two errors; a repetition penalty may enlarge them."""
    penalty = max(sampling.repetition_penalty, 1 / sampling.repetition_penalty)
    return 2 * tolerance * penalty * float(np.abs(scores).max(where=np.isfinite(scores), initial=0.0))


class Led:
    """A session that answers as a reference does while another one reads the same.

    Attributes:
        pairs: last scores of each call ``[batch, vocab]``, of the one that is led and of the reference.
    """

    def __init__(self, session: Session, reference: Session) -> None:
        self.interface: Interface = reference.interface
        self.session = session
        self.reference = reference
        self.pairs: list[tuple[Array, Array]] = []

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """As the reference."""
        return self.reference.run(inputs)

    def start(self, inputs: Mapping[str, Any]) -> Array:
        """Start both."""
        self.pairs.append((self.session.start(inputs), self.reference.start(inputs)))
        return self.pairs[-1][1]

    def step(self, tokens: Any, mask: Any = None, *, others: Mapping[str, Any] | None = None) -> Array:
        """Both read more."""
        found, expected = (each.step(tokens, mask, others=others) for each in (self.session, self.reference))
        self.pairs.append((found[:, -1], expected[:, -1]))
        return expected

    def select(self, rows: Any) -> None:
        """Keep these rows of both."""
        self.session.select(rows)
        self.reference.select(rows)
