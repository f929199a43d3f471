"""``seq2seq``: a target text from a source text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flexit.errors import UserError
from flexit.ir.analysis.limits import limits_of
from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.vocabulary import Tokenizer
from flexit.runtime.train.fields import Factor
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._reading import pad_of, small

if TYPE_CHECKING:
    from flexit.runtime.train.config import Losses
    from flexit.runtime.train.data.ragged import Ragged
    from flexit.runtime.train.data.store import Row, Store
    from flexit.runtime.train.loss import CrossEntropy

TARGET = "target_tokenizer.json"
MANY = 2**31 - 1


class Seq2Seq(Task, kind="seq2seq"):
    """A target text from a source text: each token from the source and the tokens before it (Sutskever et al. 2014).

    The model needs the inputs ``input_ids`` and ``decoder_input_ids``, and an output ``logits``.
    """

    columns: ClassVar[Mapping[str, str]] = {"source": "the text that is given", "target": "the text that is wanted"}
    tokenizers: ClassVar[Mapping[str, str]] = {TOKENIZER: "data.tokenizer", TARGET: "task.target_tokenizer"}

    label_smoothing: Factor = 0.0
    """Share of each label that is spread over the vocabulary (Vaswani et al. 2017: 0.1)."""
    target_tokenizer: Tokenizer | None = None
    """A tokenizer of its own for the targets; null: that of the sources."""

    def misfits(self, program: Program) -> Iterator[Fault]:
        names = {entry.name for entry in program.inputs if not entry.optional}
        if names != {"input_ids", "decoder_input_ids"} or program.decoded is None or "logits" not in program.outputs:
            yield Fault(
                code="FX0801", field="", message="the model cannot do seq2seq",
                expected="inputs input_ids and decoder_input_ids, and an output logits of a causal decoder",
                found=program.why_not_decoded or f"its inputs are {', '.join(sorted(names))}",
                cure="name an encoder-decoder as model, such as vaswani-base or t5-small",
            )  # fmt: skip

    def rows(self, program: Program) -> dict[str, int]:
        known = limits_of(program).ids
        source = known.get("input_ids", MANY)
        scores = program.outputs["logits"].dims[-1]
        target = min(known.get("decoder_input_ids", MANY), scores if isinstance(scores, int) else MANY)
        return {TOKENIZER: source if self.target_tokenizer else min(source, target), TARGET: target}

    def texts(self, values: Mapping[str, Any], setting: Setting, place: str, *, file: str) -> Iterator[str]:
        if file == TOKENIZER:
            yield setting.text(values, "source", place)
        if file == TARGET or self.target_tokenizer is None:
            yield setting.text(values, "target", place)

    def generation(self, setting: Setting) -> Mapping[str, int]:
        target = setting.tokenizers.get(TARGET, setting.tokenizer)
        assert target.separator_id is not None
        start = pad_of(target)
        return {"decoder_start_token_id": start, "eos_token_id": target.separator_id, "pad_token_id": start}

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        tokenizers = {"source": setting.tokenizer, "target": setting.tokenizers.get(TARGET, setting.tokenizer)}
        return {
            column: ended(setting.text(values, column, place), tokenizer, setting.seq_len)
            for column, tokenizer in tokenizers.items()
        }

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[Ragged, Ragged]:
        from flexit.runtime.train.data.pairs import Pairs
        from flexit.runtime.train.data.ragged import Ragged
        from flexit.runtime.train.data.split import split_rows

        target = setting.tokenizers.get(TARGET, setting.tokenizer)
        collate = Pairs(pad_of(setting.tokenizer), pad_of(target))
        training, held_out = (
            Ragged(store.columns, rows, collate, longest=["source", "target"])
            for rows in split_rows(store.hashes, share)
        )
        return training, held_out

    def loss(self, losses: Losses) -> CrossEntropy:
        from flexit.runtime.train.loss import CrossEntropy

        return CrossEntropy(
            router_balance=losses.router_balance, router_z=losses.router_z, z_loss=losses.z_loss, chunk=losses.chunk,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


def ended(text: str, tokenizer: RuntimeTokenizer, limit: int) -> np.ndarray:
    """The ids of a text and the separator that ends it, cut to a length.

    Raises:
        UserError: FX1604, the tokenizer has no separator.
    """
    if tokenizer.separator_id is None:
        raise UserError.of(
            "FX1604",
            "the tokenizer has no separator",
            path="data.tokenizer",
            expected="a token that ends each text",
            found="none",
            cure="write separator: with one of its tokens, such as </s>",
        )
    ids = tokenizer.encode(text)[: limit - 1]
    return np.asarray([*ids, tokenizer.separator_id], small(tokenizer))
