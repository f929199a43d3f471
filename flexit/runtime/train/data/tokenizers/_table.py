"""Tokenizers that are a table: every piece that the texts have is a token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Inner

from flexit.errors import UserError
from flexit.ir.wording import shown

UNKNOWN = "<unk>"
"""What a piece becomes that the texts did not have."""


def table(pieces: Iterable[str], specials: Sequence[str], *, rows: int, called: str) -> Inner:
    """A tokenizer with a token for each piece, which has no rule yet how a text is cut.

    Args:
        pieces: of the texts; what is written as :data:`UNKNOWN` is.
        specials: the first tokens, no text becomes them; :data:`UNKNOWN` is among them.
        rows: tokens that it may have.
        called: what the pieces are, for the message.

    Raises:
        UserError: FX1609, there are more; FX1606, one of them is a special token.
    """
    found = set(pieces)
    _require_apart(found, specials, called)
    names = list(dict.fromkeys([*specials, *sorted(found)]))
    if len(names) > rows:
        raise UserError.of(
            "FX1609", f"the texts have more {called} than the model has rows for", path="data.tokenizer",
            expected=f"at most {rows - len(names) + len(found)}", found=str(len(found)),
            cure="choose a byte-level tokenizer (bpe, bytes), or a model with a larger vocab_size",
        )  # fmt: skip
    inner = Inner(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=UNKNOWN))
    inner.add_special_tokens([AddedToken(special, special=True) for special in specials])
    return inner


def _require_apart(found: set[str], specials: Sequence[str], called: str) -> None:
    """Raise where a text would become a special token.

    Raises:
        UserError: FX1606.
    """
    shared = [special for special in specials if special in found and special != UNKNOWN]
    if shared:
        raise UserError.of(
            "FX1606", "the text itself would become a special token", path="data.tokenizer",
            expected=f"special tokens that are none of the {called} of the texts", found=shown(shared[0]),
            cure="write another separator or other specials, or take it out of the texts",
        )  # fmt: skip
