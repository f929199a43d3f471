"""``perplexity``: how well a model predicts a text, as nats per token and as bits per byte, which tokenizers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from flexit.errors import TaskError, UserError
from flexit.runtime.metric import Likelihood
from flexit.runtime.metrics.bits_per_byte import BitsPerByte
from flexit.runtime.metrics.perplexity import Perplexity as PerplexityMetric
from flexit.runtime.probabilities import log_probabilities
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.session import Session
from flexit.runtime.tasks.text_model import TextModel

PERPLEXITY, BITS_PER_BYTE = PerplexityMetric(), BitsPerByte()
LONGEST = 1024
"""Tokens of a window where neither the caller nor the model says fewer."""
ROWS = 256
"""Positions whose scores are turned into probabilities at once."""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """What a text cost.

    Attributes:
        nats: sum of -ln p over the tokens that were predicted.
        tokens: how many were.
        n_bytes: of the text in UTF-8.
    """

    nats: float
    tokens: int
    n_bytes: int

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """Exp of the loss; infinite where that is beyond a float."""
        return PERPLEXITY.of(Likelihood(self.nats, self.tokens))

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of the text."""
        return BITS_PER_BYTE.of(Likelihood(self.nats, self.tokens, self.n_bytes))


def perplexity(
    model: TextModel, text: str, *, length: int | None = None, overlap: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Perplexity:  # fmt: skip
    """How well a language model predicts a text, read in windows.

    Every token but the first is predicted once, from what its window has before it.

    Args:
        model: a session that reads texts, and scores the next token at each position.
        text: the text, in one piece.
        length: tokens of a window; by default 1024, or what the model's table of positions has.
        overlap: tokens that a window repeats from the one before, which it does not predict again; at least 1.
        progress: called with tokens done, and how many there are.

    Raises:
        TaskError: FX0801, the model does not predict the next token; FX2101, the text has fewer than two tokens;
            FX2005, scores are not finite.
        UserError: FX2007, length or overlap cannot be used.
    """
    session = model.session
    _require_decoder(session)
    ids = np.array(model.tokenizer.read([text])[0].ids, dtype=np.int64)
    if len(ids) < 2:
        raise TaskError.of(
            "FX2101", "the text has nothing to predict", expected="a text of two tokens or more",
            found=f"{len(ids)} tokens", cure="give a longer text",
        )  # fmt: skip
    nats, done = 0.0, 1
    for start, end in windows(len(ids), _length(session, length, overlap), overlap):
        row = ids[start:end][None]
        logits = session.run({"input_ids": row})["logits"][0]
        first = done - start - 1
        nats += _cost(logits[first : len(logits) - 1], ids[start + first + 1 : end])
        done = end
        if progress is not None:
            progress(done, len(ids))
    return Perplexity(nats, len(ids) - 1, len(text.encode("utf-8")))


def windows(count: int, length: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Windows of ``length`` tokens that cover ``count``; each begins ``overlap`` tokens before the last one ended."""
    start = 0
    while True:
        end = min(start + length, count)
        yield start, end
        if end == count:
            return
        start = end - overlap


def _require_decoder(session: Session) -> None:
    interface = session.interface
    if interface.decoded is None or "logits" not in interface.outputs:
        raise TaskError.of(
            "FX0801", "the model does not predict the next token", expected="a decoder over input_ids, with logits",
            found=interface.why_not or f"outputs {', '.join(interface.outputs)}",
            cure="evaluate a causal language model",
        )  # fmt: skip
    others = [entry.name for entry in interface.inputs if entry.role == "ids" and entry.group != interface.decoded]
    if others:
        raise TaskError.of(
            "FX0801", "the model reads more than the text that it predicts", expected="a decoder over one text",
            found=f"an input {', '.join(others)} too",
            cure="evaluate a causal language model",
        )  # fmt: skip


def _length(session: Session, asked: int | None, overlap: int) -> int:
    """Tokens of a window."""
    limit = session.interface.position_limit
    length = min(asked or LONGEST, asked or LONGEST if limit is None else limit)
    if overlap < 1 or length <= overlap:
        raise UserError.of(
            "FX2007", "windows of this size cannot be used", path="length",
            expected="overlap of 1 or more, and length above it", found=f"length {length}, overlap {overlap}",
            cure="give longer windows, or less overlap",
        )  # fmt: skip
    return length


def _cost(logits: Array, targets: Array) -> float:
    """Sum of -ln p of the targets, worked out in fp64 a few rows at a time."""
    if not np.isfinite(logits).all():
        raise TaskError.of(
            "FX2005", "the model's scores are no numbers", path="logits", expected="numbers", found="NaN or infinity",
            cure="look for weights that are not finite, or so large that fp32 overflows",
        )  # fmt: skip
    total = 0.0
    for at in range(0, len(logits), ROWS):
        rows = log_probabilities(logits[at : at + ROWS])
        total -= float(rows[np.arange(len(rows)), targets[at : at + ROWS]].sum())
    return total
