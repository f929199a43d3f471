"""``characters``: each character is a token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from tokenizers import Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Inner

from flexit.errors import UserError
from flexit.runtime.tokenizer import SEPARATOR
from flexit.runtime.tokenizer import Tokenizer as RuntimeTokenizer
from flexit.runtime.train.data.vocabulary import Texts, Tokenizer, with_more

UNKNOWN = "<unk>"


class Characters(Tokenizer, kind="characters"):
    """The characters that the texts have; others become ``<unk>``."""

    fewest: ClassVar[int] = 3

    separator: str = SEPARATOR
    """The token after each document, which ends generation too."""
    specials: list[str] = Field(default_factory=list[str])
    """More tokens that no text becomes, such as <mask>."""

    def wanted(self) -> int:
        return self.fewest + len(self.specials)

    def make(self, texts: Texts, base: Path, *, rows: int, more: Sequence[str] = ()) -> RuntimeTokenizer:
        del base
        specials = with_more(self.specials, more)
        found: set[str] = set()
        for text in texts():
            found.update(text)
        names = list(dict.fromkeys([self.separator, UNKNOWN, *specials, *sorted(found)]))
        if len(names) > rows:
            raise UserError.of(
                "FX1609", "the texts have more characters than the model has rows for", path="data.tokenizer",
                expected=f"at most {rows - len(names) + len(found)}", found=str(len(found)),
                cure="choose a byte-level tokenizer (bpe, bytes), or a model with a larger vocab_size",
            )  # fmt: skip
        inner = Inner(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=UNKNOWN))
        parts: Any = inner  # the stub says that neither can be set
        parts.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        parts.decoder = decoders.Fuse()
        inner.add_special_tokens([self.separator, UNKNOWN, *specials])
        return RuntimeTokenizer(inner, separator=self.separator)
