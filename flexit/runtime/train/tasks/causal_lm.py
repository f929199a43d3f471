"""``causal_lm``: each token from those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from flexit.ir.block import Fault
from flexit.ir.program import Program
from flexit.runtime.metric import Evidence
from flexit.runtime.train.task import TOKENIZER, Setting, Task
from flexit.runtime.train.tasks._packing import Pack, cannot_pack, packing_of
from flexit.runtime.train.tasks._reading import document, token_rows

if TYPE_CHECKING:
    from flexit.runtime.train.data.store import Row, Store
    from flexit.runtime.train.data.stream import NextTokens


class CausalLm(Task, kind="causal_lm"):
    """Each token from those before it (Radford et al. 2018).

    The model needs the one input ``input_ids``, an output ``logits`` and causal attention throughout.
    """

    joins: ClassVar[bool] = True
    special: ClassVar[bool] = False
    usual: ClassVar[bool] = True

    generates: ClassVar[bool] = True
    shows: ClassVar[tuple[Evidence, ...]] = (
        "bytes",
        "tokens",
    )
    metrics: ClassVar[tuple[str, ...]] = (
        "perplexity",
        "bits_per_byte",
    )
    pack: Pack = "joined"
    """How documents share rows: joined, each token sees all before it in its row; documents, only its own document."""

    def misfits(self, program: Program) -> Iterator[Fault]:
        names = {entry.name for entry in program.inputs if not entry.optional}
        if program.decoded is None or "logits" not in program.outputs or names != {"input_ids"}:
            why = f"its inputs are {', '.join(sorted(names))}" if names != {"input_ids"} else "it has no output logits"
            yield Fault(
                code="FX0801", field="", message="the model cannot do causal_lm",
                expected="the one input input_ids, an output logits, and causal attention throughout",
                found=program.why_not_decoded or why,
                cure="name a decoder as model, such as tiny-llama, or train this one in Python with flexit.Trainer",
            )  # fmt: skip
        else:
            yield from cannot_pack(program, self.pack)

    def rows(self, program: Program) -> dict[str, int]:
        return {TOKENIZER: token_rows(program, scored=True)}

    def generation(self, setting: Setting) -> Mapping[str, int]:
        end = setting.end_id
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        return {} if end is None else dict.fromkeys(names, end)

    def encode(self, values: Mapping[str, Any], setting: Setting, place: str) -> Row:
        return document(values, setting, place)

    def examples(self, store: Store, setting: Setting, share: float | None) -> tuple[NextTokens, NextTokens]:
        from flexit.runtime.train.data.stream import NextTokens, streams

        packing = packing_of(setting.program, self.pack)
        training, held_out = (
            NextTokens(stream, seq_len=setting.seq_len, packing=packing) for stream in streams(store, share)
        )
        return training, held_out
