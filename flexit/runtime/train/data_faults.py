"""What is wrong with what a run config says about its data, as far as it can be told without looking at it."""

from __future__ import annotations

from collections.abc import Iterator

from flexit.ir.block import Fault
from flexit.ir.wording import shown
from flexit.runtime.tokenizer import SEPARATOR, may_be_learnt
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.data.vocabulary import Tokenizer


def data_faults(config: RunConfig) -> Iterator[tuple[str, Fault]]:
    """Faults, each with the path of the part that has it."""
    for path, tokenizer in tokenizers_of(config).items():
        yield from ((path, each) for each in _tokens(tokenizer))


def tokenizers_of(config: RunConfig) -> dict[str, Tokenizer]:
    """The tokenizers that a run config describes, by their paths."""
    found = {"data.tokenizer": config.data.tokenizer, "task.target_tokenizer": None}
    found["task.target_tokenizer"] = getattr(config.task, "target_tokenizer", None)
    return {path: tokenizer for path, tokenizer in found.items() if tokenizer is not None}


def _tokens(tokenizer: Tokenizer) -> Iterator[Fault]:
    """Separators and special tokens that a text may become."""
    if not tokenizer.learns:
        return
    separator: str | None = getattr(tokenizer, "separator", None)
    specials: list[str] = getattr(tokenizer, "specials", [])
    named = [("separator", separator), *((f"specials.{index}", each) for index, each in enumerate(specials))]
    for field, token in named:
        if token is not None and (may_be_learnt(token) or tokenizer.may_read(token)):
            yield Fault(
                code="FX1606", field=field, message="the text itself may become this token",
                expected=f"a text that is never one word, such as {SEPARATOR}", found=shown(token),
                cure=f"leave separator out for {SEPARATOR}, or put marks and letters together like that"
                if field == "separator" else "put marks and letters together, such as <mask>",
            )  # fmt: skip
