"""A ``tokenizer.json`` as a GGUF file's metadata: the other way round than ``gguf_vocabulary``.

What is written is read again, and has to be the same vocabulary, merges and normalisation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tokenizers import Tokenizer

from flexit.convert.tokenizers.conventions import LLAMA
from flexit.convert.tokenizers.files import GENERATION, SPECIALS, TEMPLATE, TOKENIZER, read_tokenizer
from flexit.convert.tokenizers.gguf_pieces import unigrams, word_pieces
from flexit.convert.tokenizers.gguf_vocabulary import GGML, PADDING, ROLES, SPLITS, gguf_tokenizer
from flexit.convert.tokenizers.pieces import BYTE, SPACE, Kind
from flexit.convert.tokenizers.refusal import shortened
from flexit.errors import SourceError

Data = dict[str, Any]

PROBES = ("Hello, world! 12345 isn't it?", "  two  spaces\n\nlines\t", "\u00e9\u4e2d\u6587 \U0001f600 e\u0301", "a<s>b")
"""Texts that both have to cut alike, beside everything that is compared as it is written."""


OWN = ("a\tb\nc", "Caf\u00e9 \uff21\uff22 \u2460 \u00bd \ufb01 \u200b x", " lead and trail ", "x" * 120 + " y")
"""Further ones, of vocabularies whose texts are normalised."""
WORDS = ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word")
LOOKED_AT = 2000
"""Pieces of a vocabulary of which texts are made."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What is to be said."""

    inner: Tokenizer
    data: Data
    rows: int

    @property
    def model(self) -> Data:
        return cast("Data", self.data["model"])

    @property
    def added(self) -> dict[int, Data]:
        return {each["id"]: each for each in cast("list[Data]", self.data.get("added_tokens") or [])}


def tokenizer_metadata(files: Mapping[str, bytes], *, rows: int) -> Data:
    """The metadata of a model's tokenizer.

    Args:
        files: of the model, by name.
        rows: of its token table; tokens that the tokenizer lacks are padding.

    Raises:
        SourceError: FX1906, GGUF cannot say it; FX1904, it has more ids than rows; FX1901, it is no tokenizer.
    """
    if TOKENIZER not in files:
        return {f"{GGML}model": "no_vocab"}
    text = files[TOKENIZER].decode("utf-8")
    given = _Given(read_tokenizer(text, file=TOKENIZER), cast("Data", json.loads(text)), rows)
    ids = given.inner.get_vocab(with_added_tokens=True)
    if max(ids.values(), default=-1) >= rows:
        raise SourceError.of(
            "FX1904", "the tokenizer has more ids than the token table has rows", path=TOKENIZER,
            expected=f"at most {rows:,} ids, as the table has rows", found=f"{1 + max(ids.values()):,} ids",
            cure="take tokenizer and weights from the same model",
        )  # fmt: skip
    common = {**_roles(files, given), **_chat(files)}
    tried = ""
    for made in _candidates(given):
        metadata = {**made, **common}
        try:
            found = gguf_tokenizer(metadata)
        except SourceError as error:
            tried = tried or str(error.problems[0].message)
            continue
        again = None if found is None else read_tokenizer(found.text, file=TOKENIZER)
        difference = "no tokenizer" if again is None else _difference(given, again)
        if not difference:
            return metadata
        tried = tried or difference
    raise SourceError.of(
        "FX1906", "GGUF has no words for this tokenizer", path=TOKENIZER,
        expected="bytes in words as llama.cpp cuts them, pieces of SentencePiece, or BERT's word pieces",
        found=shortened(tried),
        cure=f"write it without a tokenizer: take {TOKENIZER} out of the folder",
    )  # fmt: skip


def _candidates(given: _Given) -> Iterator[Data]:
    """Metadata that may say it: every way to cut words that GGUF has a name for, or pieces."""
    model = given.model
    tokens = _tokens(given)
    known = given.inner.get_vocab(with_added_tokens=True)
    if model.get("type") == "WordPiece":
        yield word_pieces(given.data, tokens, added=given.added, known=known)
    if model.get("type") == "Unigram":
        yield from unigrams(given.data, tokens, added=given.added, known=known)
    if model.get("type") != "BPE":
        return
    if model.get("byte_fallback"):
        base = {f"{GGML}model": "llama", f"{GGML}tokens": tokens, f"{GGML}token_type": _kinds(given, tokens)}
        for prefixed in (True, False):
            yield {**base, f"{GGML}scores": _scores(given, tokens), f"{GGML}add_space_prefix": prefixed}
        return
    base = {
        f"{GGML}model": "gpt2", f"{GGML}tokens": tokens, f"{GGML}token_type": _kinds(given, tokens),
        f"{GGML}merges": [" ".join(pair) for pair in _merges(model)],
    }  # fmt: skip
    for names in SPLITS.values():
        for name in names.split():
            yield {**base, f"{GGML}pre": name}


def _tokens(given: _Given) -> list[str]:
    """Every id's token, with padding up to the rows of the table."""
    tokens = [PADDING.format(row) for row in range(given.rows)]
    for token, row in given.inner.get_vocab(with_added_tokens=True).items():
        tokens[row] = token
    return tokens


def _kinds(given: _Given, tokens: list[str]) -> list[int]:
    unknown, added = given.model.get("unk_token"), given.added
    by_bytes = bool(given.model.get("byte_fallback"))
    known = given.inner.get_vocab(with_added_tokens=True)

    def kind(row: int, token: str) -> Kind:
        if token not in known:
            return Kind.UNUSED
        if by_bytes and token == (unknown or LLAMA["unk"]):
            return Kind.UNKNOWN
        if row in added:
            return Kind.CONTROL if added[row].get("special") else Kind.USER_DEFINED
        return Kind.BYTE if by_bytes and BYTE.fullmatch(token) else Kind.NORMAL

    return [int(kind(row, token)) for row, token in enumerate(tokens)]


def _merges(model: Data) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for merge in cast("list[Any]", model.get("merges") or []):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        pairs.append((left, right))
    return pairs


def _scores(given: _Given, tokens: list[str]) -> list[float]:
    """Of each piece how late it is merged, counted down: the first merge that gives it; what none gives comes last."""
    order = {piece: rank for rank, piece in enumerate(dict.fromkeys(map("".join, _merges(given.model))))}
    return [-float(order.get(token, len(order))) for token in tokens]


def _roles(files: Mapping[str, bytes], given: _Given) -> Data:
    """Ids of the tokens with roles, and what is added around a text."""
    named = cast("Data", json.loads(files[SPECIALS])) if SPECIALS in files else {}
    generation = cast("Data", json.loads(files[GENERATION])) if GENERATION in files else {}
    found: Data = {}
    for role, key in ROLES.items():
        token = named.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        number = given.inner.token_to_id(token) if isinstance(token, str) else None
        if number is not None:
            found[f"{GGML}{key}"] = number
    ends = generation.get("eos_token_id")
    ends = [each for each in (ends if isinstance(ends, list) else [ends]) if isinstance(each, int)]
    eos = found.setdefault(f"{GGML}eos_token_id", ends[0]) if ends else found.get(f"{GGML}eos_token_id")
    others = [each for each in ends if each != eos]
    for key, number in zip(("eot_token_id", "eom_token_id"), others, strict=False):
        found[f"{GGML}{key}"] = number
    for role in ("bos", "pad"):
        number = generation.get(f"{role}_token_id")
        if isinstance(number, int):
            found.setdefault(f"{GGML}{ROLES[role]}", number)
    return {**found, **_around(given, found)}


def _around(given: _Given, roles: Data) -> Data:
    """Whether a text is begun and ended with a token.

    Raises:
        SourceError: FX1906, something else is added.
    """
    bare = given.inner.encode("a", add_special_tokens=False).ids
    whole = given.inner.encode("a").ids
    if given.model.get("type") == "WordPiece":
        cls, sep = (roles.get(f"{GGML}{ROLES[role]}") for role in ("cls", "sep"))
        if whole == [cls, *bare, sep]:
            return {f"{GGML}{ROLES['bos']}": cls}  # by which llama.cpp begins a text
    bos, eos = (roles.get(f"{GGML}{ROLES[role]}") for role in ("bos", "eos"))
    for begun in (False, True):
        for ended in (False, True):
            if whole == [*([bos] if begun else []), *bare, *([eos] if ended else [])]:
                return {f"{GGML}add_bos_token": begun, f"{GGML}add_eos_token": ended}
    raise SourceError.of(
        "FX1906", "GGUF has no words for this tokenizer", path=TOKENIZER,
        expected="nothing around a text but the tokens that begin and end one",
        found=f"{whole} around {bare}", cure=f"write it without a tokenizer: take {TOKENIZER} out of the folder",
    )  # fmt: skip


def _chat(files: Mapping[str, bytes]) -> Data:
    return {"tokenizer.chat_template": files[TEMPLATE].decode("utf-8")} if TEMPLATE in files else {}


def _difference(given: _Given, again: Tokenizer) -> str:
    """What differs between a tokenizer and what GGUF makes of it; empty where nothing does."""
    if given.inner.get_vocab(with_added_tokens=True) != again.get_vocab(with_added_tokens=True):
        return "another vocabulary"
    other = cast("Data", json.loads(again.to_str()))
    one, two = given.model, cast("Data", other["model"])
    if one.get("type") != "BPE":
        return _other_pieces(given, again, two)
    if _merges(one) != _merges(two):
        return "other merges"
    if bool(one.get("ignore_merges")) != bool(two.get("ignore_merges")):
        return "words that are tokens before they are merged"
    for part in ("normalizer", "pre_tokenizer"):
        ours, theirs = _steps(given.data.get(part)), _steps(other.get(part))
        if ours != theirs and not _spaces_alike(given.data, other):
            return f"{part}: {json.dumps(given.data.get(part), ensure_ascii=False)}"
    return next((f"other ids for {text!r}" for text in PROBES if _ids(given.inner, text) != _ids(again, text)), "")


def _other_pieces(given: _Given, again: Tokenizer, two: Data) -> str:
    """What differs where nothing is merged: how words are begun and cut, or what texts of the vocabulary are."""
    one = given.model
    if one.get("type") != two.get("type"):
        return f"a model of {two.get('type')}"
    for key in WORDS if one["type"] == "WordPiece" else ("unk_id", "byte_fallback"):
        if one.get(key) != two.get(key):
            return f"{key}: {one.get(key)}"
    if one["type"] == "WordPiece":
        other = cast("Data", json.loads(again.to_str()))
        sides = [[_steps(data.get(part)) for part in ("normalizer", "pre_tokenizer")] for data in (given.data, other)]
        if [_accents(side) for side in sides[0]] != [_accents(side) for side in sides[1]]:
            return f"normalizer: {json.dumps(given.data.get('normalizer'), ensure_ascii=False)}"
    texts = [*PROBES, *OWN, *_own_texts(given)]
    return next((f"other ids for {text!r}" for text in texts if _ids(given.inner, text) != _ids(again, text)), "")


def _accents(steps: list[Data]) -> list[Data]:
    """Steps of BERT's normalisation, in which accents go as small letters do unless they say it."""
    return [
        {**step, "strip_accents": step["lowercase"]} if step.get("strip_accents", 0) is None else step for step in steps
    ]


def _own_texts(given: _Given) -> Iterator[str]:
    """Texts of the vocabulary's own pieces, some in a row."""
    whole = {str(each["content"]) for each in given.added.values()}
    pieces = [
        piece.replace(SPACE, " ") for piece in given.inner.get_vocab(with_added_tokens=False)
        if piece not in whole and not BYTE.fullmatch(piece)
    ]  # fmt: skip
    chosen = sorted(pieces)[:: max(1, len(pieces) // LOOKED_AT)]
    for at in range(0, len(chosen), 5):
        yield "".join(chosen[at : at + 5])


def _ids(inner: Tokenizer, text: str) -> list[int]:
    return inner.encode(text, add_special_tokens=False).ids


def _steps(step: Any) -> list[Data]:
    """Steps in order, without what says nothing of ids."""
    if step is None:
        return []
    data = cast("Data", step)
    if data.get("type") == "Sequence":
        inner = cast("list[Any]", data.get("normalizers") or data.get("pretokenizers") or [])
        return [each for one in inner for each in _steps(one)]
    dull = ("trim_offsets", "use_regex") if data.get("type") == "ByteLevel" and "use_regex" not in data else (
        "trim_offsets",
    )  # fmt: skip
    return [{key: value for key, value in data.items() if key not in dull}]


def _spaces_alike(one: Data, other: Data) -> bool:
    """Whether two both only write spaces as a mark, and at the front alike, by whichever step."""
    fronts = [_front(each) for each in (one, other)]
    return None not in fronts and fronts[0] == fronts[1]


def _front(data: Data) -> bool | None:
    """Whether a mark is put before a text; None where more is done to it than to write marks for spaces."""
    fronted = False
    for step in (*_steps(data.get("normalizer")), *_steps(data.get("pre_tokenizer"))):
        kind = step.get("type")
        if kind == "Prepend" and step.get("prepend") == SPACE:
            fronted = True
        elif kind == "Metaspace" and step.get("replacement") == SPACE and step.get("split") is False:
            fronted = fronted or step.get("prepend_scheme") in ("always", "first")
        elif kind == "Split" and step.get("pattern") == {"String": " "}:
            continue  # there is none left when this is done
        elif not (kind == "Replace" and step.get("pattern") == {"String": " "} and step.get("content") == SPACE):
            return None
    return fronted
