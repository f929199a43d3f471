"""``span_corruption``: pieces that were cut out of a text, from what is left of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.inputs import end_and_start
from flexit.runtime.train.fields import Share
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._pairs import pair_rows, two_texts
from flexit.runtime.train.tasks._reading import document

if TYPE_CHECKING:
    from flexit.runtime.train.data.spans import CutSpans
    from flexit.runtime.train.data.store import Row, Store


class SpanCorruption(Task, kind="span_corruption"):
    """Pieces that were cut out of a text, others each time, from what is left of it (Raffel et al. 2020, T5).

    Documents are joined and cut into pieces of seq_len tokens. Each piece that is cut out of one is replaced by a token
    that numbers it (``<extra_id_0>``, ...); the target has these, each with what it stands for. The model needs the
    inputs ``input_ids`` and ``decoder_input_ids``, and an output ``logits``.
    """

    joins: ClassVar[bool] = True
    shows: ClassVar[tuple[Evidence, ...]] = (
        "likelihood",
        "tokens",
    )
    metrics: ClassVar[tuple[str, ...]] = ("perplexity",)
    ratio: Share = 0.15
    """Share of the tokens that are cut out."""
    mean_length: Annotated[float, Field(ge=1)] = 3.0
    """Tokens of a piece, in the mean."""

    def misfits(self, program: Program) -> Iterator[Fault]:
        yield from two_texts(program, self.kind)

    def rows(self, program: Program) -> dict[str, int]:
        return {TOKENIZER: min(pair_rows(program))}

    def special_tokens(self, seq_len: int) -> list[str]:
        return [f"<extra_id_{number}>" for number in range(self.pieces(seq_len))]

    def settled(self, tokenizer: RuntimeTokenizer, *, file: str) -> RuntimeTokenizer:
        del file
        return tokenizer.ending()

    def pieces(self, seq_len: int) -> int:
        """How many are cut out of so many tokens, at least one."""
        return max(1, round(round(seq_len * self.ratio) / self.mean_length))

    def generation(self, setting: Setting) -> Mapping[str, int]:
        end, start = end_and_start(setting.tokenizer)
        return {"decoder_start_token_id": start, "eos_token_id": end, "pad_token_id": start}

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        return document(values, setting, place)

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[CutSpans, CutSpans]:
        from flexit.runtime.train.data.spans import CutSpans, Cutting
        from flexit.runtime.train.data.stream import streams

        cutting = Cutting.of(self, setting)
        training, held_out = (CutSpans(stream, setting.seq_len, cutting) for stream in streams(store, share))
        return training, held_out
