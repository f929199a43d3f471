"""``masked_lm``: tokens that were hidden, from all that stands around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.train.fields import Factor, Share
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._packing import Pack, cannot_pack, packing_of
from flexit.runtime.train.tasks._reading import document, inputs_of, one_text, token_rows

if TYPE_CHECKING:
    from flexit.runtime.train.data.hidden import HiddenTokens
    from flexit.runtime.train.data.store import Row, Store


class MaskedLm(Task, kind="masked_lm"):
    """Tokens that were hidden, from all that stands around them (Devlin et al. 2019), others each time.

    Documents are joined and cut into rows of seq_len tokens. The model needs one input of tokens and an output
    ``logits`` for each, and must see both sides.
    """

    joins: ClassVar[bool] = True
    shows: ClassVar[tuple[Evidence, ...]] = (
        "likelihood",
        "tokens",
    )
    metrics: ClassVar[tuple[str, ...]] = ("perplexity",)
    ratio: Share = 0.15
    """Share of the tokens that are to be found again."""
    masked: Factor = 0.8
    """Share of those that become the mask token."""
    random: Factor = 0.1
    """Share of those that become any token; the rest stay as they are."""
    whole_words: bool = False
    """Hide words, not pieces of them."""
    pack: Pack = "joined"
    """How documents share rows: joined, each token sees all of its row; documents, only its own document."""

    def misfits(self, program: Program) -> Iterator[Fault]:
        yield from one_text(program, self.kind)
        scores = program.outputs.get("logits")
        if scores is None or len(scores.dims) != 3 or program.decoded is not None:
            yield Fault(
                code="FX0801", field="", message="the model cannot do masked_lm",
                expected="an output logits for each token, of attention that sees both sides",
                found="none" if scores is None else "a decoder" if program.decoded is not None else "scores for a text",
                cure="name an encoder with a block mlm_head as model, such as bert-base",
            )  # fmt: skip
        if self.masked + self.random > 1:
            yield Fault(
                code="FX1510", field="random", message="the shares are more than all",
                expected=f"at most {1 - self.masked:g}, beside masked", found=f"{self.random:g}",
                cure="lower random or masked",
            )  # fmt: skip
        yield from cannot_pack(program, self.pack)

    def rows(self, program: Program) -> dict[str, int]:
        return {TOKENIZER: token_rows(program, scored=True)}

    def special_tokens(self, seq_len: int) -> list[str]:
        del seq_len
        return ["<mask>"]

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        return document(values, setting, place)

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[HiddenTokens, HiddenTokens]:
        from flexit.runtime.train.data.hidden import HiddenTokens, Hiding
        from flexit.runtime.train.data.stream import streams

        hiding, inputs = Hiding.of(self, setting.tokenizer), inputs_of(setting)
        packing = packing_of(setting.program, self.pack)
        training, held_out = (
            HiddenTokens(stream, setting.seq_len, packing=packing, hiding=hiding, inputs=inputs)
            for stream in streams(store, share)
        )
        return training, held_out
