"""``seq2seq``: a target text from a source text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.tasks.text_model import TARGET_TOKENIZER as TARGET
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.inputs import end_and_start, pad_of
from flexit.runtime.train.data.vocabulary import Tokenizer
from flexit.runtime.train.fields import Factor
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._pairs import pair_rows, two_texts
from flexit.runtime.train.tasks._reading import small

if TYPE_CHECKING:
    from flexit.runtime.train.data.ragged import Ragged
    from flexit.runtime.train.data.store import Row, Store


class Seq2Seq(Task, kind="seq2seq"):
    """A target text from a source text: each token from the source and the tokens before it (Sutskever et al. 2014).

    The model needs the inputs ``input_ids`` and ``decoder_input_ids``, and an output ``logits``.
    """

    columns: ClassVar[Mapping[str, str]] = {"source": "the text that is given", "target": "the text that is wanted"}
    tokenizers: ClassVar[Mapping[str, str]] = {TOKENIZER: "data.tokenizer", TARGET: "task.target_tokenizer"}

    by: ClassVar[tuple[str, ...]] = ("source",)
    generates: ClassVar[bool] = True
    shows: ClassVar[tuple[Evidence, ...]] = (
        "likelihood",
        "tokens",
        "texts",
    )
    metrics: ClassVar[tuple[str, ...]] = ("perplexity",)
    label_smoothing: Factor = 0.0
    """Share of each label that is spread over the vocabulary (Vaswani et al. 2017: 0.1)."""
    target_tokenizer: Tokenizer | None = None
    """A tokenizer of its own for the targets; null: that of the sources."""

    def misfits(self, program: Program) -> Iterator[Fault]:
        yield from two_texts(program, self.kind)

    def rows(self, program: Program) -> dict[str, int]:
        source, target = pair_rows(program)
        return {TOKENIZER: source if self.target_tokenizer else min(source, target), TARGET: target}

    def settled(self, tokenizer: RuntimeTokenizer, *, file: str) -> RuntimeTokenizer:
        return tokenizer.ending() if file == TOKENIZER else tokenizer

    def texts(self, values: Mapping[str, Any], setting: Setting, place: str, *, file: str) -> Iterator[str]:
        if file == TOKENIZER:
            yield setting.text(values, "source", place)
        if file == TARGET or self.target_tokenizer is None:
            yield setting.text(values, "target", place)

    def generation(self, setting: Setting) -> Mapping[str, int]:
        end, start = end_and_start(setting.tokenizers.get(TARGET, setting.tokenizer))
        return {"decoder_start_token_id": start, "eos_token_id": end, "pad_token_id": start}

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        source, target = (setting.text(values, column, place) for column in self.columns)
        (read,) = setting.tokenizer.read([source], limit=setting.seq_len)
        target_tokenizer = setting.tokenizers.get(TARGET, setting.tokenizer)
        return {
            "source": np.asarray(read.ids, small(setting.tokenizer)),
            "target": ended(target, target_tokenizer, setting.seq_len),
        }

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Ragged, Ragged]:
        from flexit.runtime.train.data.pairs import Pairs
        from flexit.runtime.train.data.ragged import halves

        target = setting.tokenizers.get(TARGET, setting.tokenizer)
        collate = Pairs(pad_of(setting.tokenizer), pad_of(target))
        return halves(store, collate, share, longest=["source", "target"])


def ended(text: str, tokenizer: RuntimeTokenizer, limit: int) -> np.ndarray:
    """The ids of a text and the separator that ends it, cut to a length.

    Raises:
        UserError: FX1604, the tokenizer has no separator.
    """
    end, _ = end_and_start(tokenizer)
    ids = tokenizer.encode(text)[: limit - 1]
    return np.asarray([*ids, end], small(tokenizer))
