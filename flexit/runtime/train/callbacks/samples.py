"""``samples.jsonl``: what the model makes of prompts while it learns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flexit.runtime.generation.generate import generate
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.generation.text_stream import text_of
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.callbacks.metrics import cut_back
from flexit.runtime.train.callbacks.progress import ProgressBar
from flexit.runtime.train.evaluation.decoding import in_full, session_of
from flexit.runtime.train.saving.checkpoint import telling_what_is_left

if TYPE_CHECKING:
    from flexit.runtime.tokenizer import Tokenizer
    from flexit.runtime.train.failures.mishaps import Failure
    from flexit.runtime.train.trainer import Trainer
    from flexit.runtime.train.update.step import Step

FILE = "samples.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is made.

    Attributes:
        prompts: texts.
        rows: what the decoder begins with, for each.
        sources: what the encoder reads for each, where there is one: ids by the name of its input, and its mask.
        tokenizer: of what is made.
        end, pad: tokens.
        max_new_tokens: most of each.
        sampling: how tokens are chosen.
    """

    prompts: Sequence[str]
    rows: Sequence[Sequence[int]]
    sources: dict[str, np.ndarray[Any, Any]]
    tokenizer: Tokenizer
    end: int | None
    pad: int
    max_new_tokens: int
    sampling: Sampling


class Samples(Callback):
    """Makes a text of each prompt every ``every`` steps, and after the last, in evaluation mode.

    Draws have numbers of their own, from the seed alone, so that neither the random states nor anything else of the
    training depends on them.
    """

    def __init__(self, folder: Path, request: Request, *, every: int) -> None:
        self.file = folder / FILE
        self.request = request
        self.every = every

    def start(self, trainer: Trainer) -> None:
        cut_back(self.file, trainer.step)

    def after_failure(self, trainer: Trainer, failure: Failure) -> None:
        if failure.answer == "rollback":
            self.start(trainer)

    def after_step(self, trainer: Trainer, step: Step) -> None:
        if step.number % self.every and step.number != trainer.steps:
            return
        texts = self.made(trainer)
        with (
            telling_what_is_left(self.file.parent / "checkpoints", self.file),
            self.file.open("a", encoding="utf-8") as file,
        ):
            for prompt, text in zip(self.request.prompts, texts, strict=True):
                file.write(json.dumps({"step": step.number, "prompt": prompt, "text": text}) + "\n")
        for bar in trainer.callbacks:
            if isinstance(bar, ProgressBar):
                for prompt, text in zip(self.request.prompts, texts, strict=True):
                    joined = f"{prompt} -> {text}" if self.request.sources else f"{prompt}{text}"
                    bar.say(f"step {step.number}  {joined}")

    def made(self, trainer: Trainer) -> list[str]:
        """A text for each prompt."""
        request = self.request
        with in_full(trainer.model):
            found = generate(
                session_of(trainer.model), request.rows, max_new_tokens=request.max_new_tokens, eos_id=request.end,
                pad_id=request.pad, sampling=request.sampling, others=request.sources or None,
            )  # fmt: skip
        return [
            text_of(request.tokenizer, () if request.sources else row, _without(tokens, request.end))
            for row, tokens in zip(request.rows, found, strict=True)
        ]


def _without(tokens: Sequence[int], end: int | None) -> Sequence[int]:
    return tokens[:-1] if tokens and tokens[-1] == end else tokens
