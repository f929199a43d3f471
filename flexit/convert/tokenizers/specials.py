"""Special tokens of a model: which it names, which it adds to its vocabulary, and that their ids are what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from tokenizers import AddedToken, Tokenizer

from flexit.convert.tokenizers.contents import is_utf8
from flexit.convert.tokenizers.refusal import inconsistent, unreadable
from flexit.errors import SourceError

ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
CONFIG, MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
MAX_ID = 2**31 - 1
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True, slots=True)
class SpecialToken:
    """A token with a role.

    Attributes:
        token: as it is written.
        id: its row of the token table.
    """

    token: str
    id: int


@dataclass(frozen=True, slots=True)
class Declared:
    """What a folder says of special tokens.

    Attributes:
        names: token of each role that is named.
        tokens: how the token of each role reads the text around it, as far as it is said.
        added: tokens with the ids that they should have.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, AddedToken] = field(default_factory=dict)
    added: Sequence[tuple[int, AddedToken]] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any], special: Mapping[str, Any], added: Mapping[str, Any]) -> Declared:
        """From ``tokenizer_config.json``, ``special_tokens_map.json`` and ``added_tokens.json``.

        Raises:
            SourceError: FX1901, a token is none; FX1902, an id is none.
        """
        tokens: dict[str, AddedToken] = {}
        for role in ROLES:
            for data, name in ((config, CONFIG), (special, MAP)):
                given = data.get(f"{role}_token")
                if given is not None:
                    tokens.setdefault(role, added_token(given, name, special=True))
        listed: dict[int, AddedToken] = {}
        decoder = config.get("added_tokens_decoder") or {}
        if not isinstance(decoder, dict):
            raise unreadable(CONFIG, expected="an object in added_tokens_decoder", found=repr(decoder))
        for number, given in cast("dict[str, Any]", decoder).items():
            listed[_id(number, CONFIG)] = added_token(given, CONFIG, special=False)
        for content, number in added.items():
            listed.setdefault(_id(number, ADDED), added_token(content, ADDED, special=False))
        return cls({role: token.content for role, token in tokens.items()}, tokens, sorted(listed.items(), key=_first))


def _first(pair: tuple[int, AddedToken]) -> int:
    return pair[0]


def added_token(given: object, file: str, *, special: bool) -> AddedToken:
    """A token, written as a text or as an object with its flags.

    Raises:
        SourceError: FX1901, it is neither.
    """
    data = cast("dict[str, Any]", given) if isinstance(given, dict) else {"content": given}
    content = data.get("content")
    if not isinstance(content, str) or not content or not is_utf8(content):
        raise unreadable(file, expected="a token: a text, or an object with content", found=repr(given))
    flags = {name: data[name] for name in FLAGS if isinstance(data.get(name), bool)}
    return AddedToken(content, **{"special": special, "normalized": False, **flags})


def _id(value: object, file: str) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is not int or not 0 <= number <= MAX_ID:
        raise inconsistent(file, "an added token has no id", expected="a number from 0", found=repr(value))
    return number


def add(inner: Tokenizer, declared: Declared, names: Mapping[str, str], *, file: str) -> None:
    """Add what a folder declares, in the order of the ids, and the tokens of roles.

    Args:
        inner: the tokenizer, changed in place.
        declared: what the folder says.
        names: the token of each role, those of the convention included.
        file: what is blamed.

    Raises:
        SourceError: FX1902, an added token would get another id than it should have.
    """
    for number, token in declared.added:
        known = inner.token_to_id(token.content)
        expected = inner.get_vocab_size(with_added_tokens=True) if known is None else known
        if expected != number:
            raise inconsistent(
                file, f"the added token {token.content!r} cannot have the id {number}",
                expected=f"{expected}, {'the next id' if known is None else 'its id in the vocabulary'}",
                found=str(number),
            )  # fmt: skip
        token.special = token.special or token.content in names.values()
        inner.add_tokens([token])
    listed = {token.content for _, token in declared.added}
    for role in ROLES:
        if role in names and names[role] not in listed:
            token = declared.tokens.get(role)
            same = token is not None and token.content == names[role]
            inner.add_special_tokens([token if same and token is not None else _plain(role, names[role])])


def _plain(role: str, content: str) -> AddedToken:
    """A token as the reference has it where nothing is said: a mask takes the space before it along."""
    return AddedToken(content, lstrip=role == "mask" and content == "<mask>", normalized=False, special=True)


def found(inner: Tokenizer, names: Mapping[str, str], *, file: str) -> dict[str, SpecialToken]:
    """The tokens of roles with their ids.

    Raises:
        SourceError: FX1905, one is not in the vocabulary.
    """
    result: dict[str, SpecialToken] = {}
    for role in ROLES:
        if role in names:
            result[role] = SpecialToken(names[role], id_of(inner, names[role], what=f"{role} token", file=file))
    return result


def id_of(inner: Tokenizer, token: str, *, what: str, file: str) -> int:
    """The id of a token.

    Raises:
        SourceError: FX1905, it is not in the vocabulary.
    """
    number = inner.token_to_id(token)
    if number is None:
        raise SourceError.of(
            "FX1905", f"the {what} is not in the vocabulary", path=file, expected=f"a token {token!r}", found="none",
            cure="take tokenizer_config.json and the vocabulary from the same model",
        )  # fmt: skip
    return number
