"""What a source's tokenizer comes to: the text of a ``tokenizer.json`` and what goes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from flexit.convert.tokenizers.refusal import unreadable
from flexit.convert.tokenizers.specials import SpecialToken
from flexit.errors import SourceError
from flexit.files.folder import write_file

DEFAULT = "default"
TOKENIZER, TEMPLATE, SPECIALS, GENERATION = (
    "tokenizer.json", "chat_template.jinja", "special_tokens_map.json", "generation_config.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """A tokenizer, whatever it was read from.

    Attributes:
        text: content of a ``tokenizer.json``.
        specials: tokens that the model names, by role: ``bos``, ``eos``, ``unk``, ``sep``, ``pad``, ``cls``, ``mask``.
        chat_templates: by name; the one that is meant where none is named is ``default``.
        generation: content of ``generation_config.json``, where there is one.
    """

    text: str
    specials: Mapping[str, SpecialToken] = field(default_factory=dict)
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    generation: Mapping[str, Any] | None = None

    @property
    def chat_template(self) -> str | None:
        """The chat template that is meant where none is named."""
        return self.chat_templates.get(DEFAULT)

    @property
    def n_ids(self) -> int:
        """Rows of a token table that its ids need: one more than the largest."""
        inner = Tokenizer.from_str(self.text)
        return 1 + max(inner.get_vocab(with_added_tokens=True).values(), default=-1)

    def require_rows(self, rows: int) -> None:
        """Refuse a token table that has no row for some id.

        Raises:
            SourceError: FX1904, with both sizes.
        """
        if self.n_ids > rows:
            raise SourceError.of(
                "FX1904", "the tokenizer has more ids than the token table has rows", path=TOKENIZER,
                expected=f"at most {rows:,} ids, as the table has rows", found=f"{self.n_ids:,} ids",
                cure="take tokenizer and weights from the same model",
            )  # fmt: skip

    def written(self) -> dict[str, bytes]:
        """The content of each file that a checkpoint or bundle carries, by name."""
        named = {f"{role}_token": special.token for role, special in self.specials.items()}
        files = {TOKENIZER: self.text}
        if self.chat_template is not None:
            files[TEMPLATE] = self.chat_template
        if named:
            files[SPECIALS] = json.dumps(named, indent=1, ensure_ascii=False)
        if self.generation is not None:
            files[GENERATION] = json.dumps(dict(self.generation), indent=1, ensure_ascii=False)
        return {name: text.encode() for name, text in files.items()}

    def write(self, folder: Path) -> None:
        """Write these files into a folder."""
        for name, content in self.written().items():
            write_file(folder / name, content)


def read_tokenizer(text: str, *, file: str) -> Tokenizer:
    """The tokenizer of the text of a ``tokenizer.json``.

    Raises:
        SourceError: FX1901, it is none.
    """
    try:
        return Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the library raises bare Exception, and its panics are none
        raise unreadable(file, expected="a file of the tokenizers library", found=str(error)) from error
