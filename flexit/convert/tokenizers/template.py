"""What a tokenizer adds around a text, or two, as the template of the ``tokenizers`` library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenizers import Tokenizer, processors

from flexit.convert.tokenizers.contents import flag_in
from flexit.convert.tokenizers.conventions import Convention
from flexit.convert.tokenizers.specials import CONFIG, id_of


def template(
    inner: Tokenizer, convention: Convention, *, names: Mapping[str, str], config: Mapping[str, Any], file: str
) -> Any:
    """The post-processor of a convention; None where nothing is added.

    Raises:
        SourceError: FX1905, a token that is added is not in the vocabulary; FX1901, a flag is none.
    """
    wanted = {role: flag_in(config, f"add_{role}_token", name=CONFIG) for role in ("bos", "eos")}
    ids: dict[str, int] = {}

    def parts(written: str) -> Iterator[str]:
        second = 0
        for word in written.split():
            role = word.rstrip("?+")
            if role in ("A", "B"):
                second = int(convention.types and role == "B")
                yield f"${role}:{second}"
            elif _is_added(word, wanted.get(role)):
                token = names.get(role, f"[{role}]")
                ids[token] = id_of(inner, token, what=f"{role} token", file=file)
                yield f"{token}:{second}"

    single, pair = (list(parts(written)) for written in convention.around)
    if not ids:
        return None
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=list(ids.items()))


def _is_added(word: str, wanted: bool | None) -> bool:
    """Whether a role of a template is added, given what the folder says of it."""
    if word.endswith("?"):
        return wanted is True
    return wanted is not False if word.endswith("+") else True
