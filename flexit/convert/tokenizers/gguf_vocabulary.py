"""The tokenizer in a GGUF file's metadata: byte-level merges, SentencePiece pieces, or BERT's word pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

from tokenizers import AddedToken, Tokenizer

from flexit.convert.tokenizers import byte_level, word_piece
from flexit.convert.tokenizers.contents import flag_in, is_utf8, text_in
from flexit.convert.tokenizers.conventions import CONVENTIONS
from flexit.convert.tokenizers.files import DEFAULT, TokenizerFiles
from flexit.convert.tokenizers.pieces import SPACE, Kind, Piece, Pieces
from flexit.convert.tokenizers.refusal import inconsistent, unknown, unreadable
from flexit.convert.tokenizers.specials import found
from flexit.convert.tokenizers.template import template

GGML = "tokenizer.ggml."
PADDING = "[PAD{}]"
"""What stands for a row of the token table that has no token, with the row in it."""
ROLES = {
    "bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "sep": "seperator_token_id",
    "pad": "padding_token_id", "cls": "cls_token_id", "mask": "mask_token_id",
}  # fmt: skip
"""Key of the id of each role; the one of ``sep`` is spelt so in the format."""
SPLITS = {
    byte_level.GPT2: "gpt-2 gpt2 phi-2 olmo mpt roberta-bpe jina-es jina-de",
    byte_level.DIGITS: "smollm starcoder refact command-r codeshell exaone",
    byte_level.LLAMA3: "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral lfm2 dbrx smaug-bpe",
    byte_level.QWEN2: "qwen2 stablelm2 deepseek-r1-qwen megrez",
    byte_level.TEKKEN: "tekken",
}  # fmt: skip
"""Pattern of words by the names of ``tokenizer.ggml.pre``."""
WHOLE_WORDS = ("llama3", "llama-v3", "llama-bpe", "tekken")
"""Names of ``tokenizer.ggml.pre`` whose words are tokens before any merge."""
COMPOSED = ("qwen2", "deepseek-r1-qwen", "megrez")
"""Names of ``tokenizer.ggml.pre`` whose texts are first composed (NFC)."""


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The arrays of the metadata, of one length each."""

    tokens: Sequence[str]
    kinds: Sequence[Kind]
    scores: Sequence[float]
    data: Mapping[str, Any]

    def flag(self, key: str) -> bool | None:
        return flag_in(self.data, f"{GGML}{key}", name="tokenizer metadata")


def gguf_tokenizer(metadata: Mapping[str, Any], *, file: str = "the GGUF file") -> TokenizerFiles | None:
    """The tokenizer of a GGUF file; None where it has none.

    Args:
        metadata: values by key, as the file has them.
        file: its name, which is blamed.

    Raises:
        SourceError: FX1901, a value is of another type; FX1902, arrays are of unequal length, or contradict themselves;
            FX1903, the vocabulary is of a kind that is not converted; FX1905, a special token is missing.
    """
    model = text_in(metadata, f"{GGML}model", name=file)
    if model is None or model in ("none", "no_vocab"):
        return None
    given = _vocabulary(metadata, file)
    names = _names(given, file)
    if model == "gpt2":
        inner, convention = _byte_level(given, file), CONVENTIONS["GPT2"]
    elif model == "llama":
        inner, convention = _pieces(given, file), CONVENTIONS["Llama"]
    elif model == "bert":
        inner, convention = _word_piece(given, names, file), CONVENTIONS["Bert"]
        names = {role: name for role, name in names.items() if role != "bos" or name != names.get("cls")}
    elif model == "t5":
        inner, convention = _unigrams(given, file), CONVENTIONS["GPT2"]
    else:
        raise unknown(
            file, "this vocabulary is not converted", expected="tokenizer.ggml.model: gpt2, llama, bert or t5",
            found=model,
        )  # fmt: skip
    made = template(inner, convention, names=names, config=_flags(given, model), file=file)
    if made is not None:
        parts: Any = inner  # the stub says that it cannot be set
        parts.post_processor = made
    chat = text_in(metadata, "tokenizer.chat_template", name=file)
    return TokenizerFiles(
        text=inner.to_str(pretty=True), specials=found(inner, names, file=file),
        chat_templates={} if chat is None else {DEFAULT: chat}, generation=_generation(given, file),
    )  # fmt: skip


def _flags(given: _Vocabulary, model: str) -> dict[str, Any]:
    found = {name: given.flag(name) for name in ("add_bos_token", "add_eos_token")}
    if model == "t5" and found["add_eos_token"] is None:  # as llama.cpp has it
        found["add_eos_token"] = True
    return found


def _vocabulary(metadata: Mapping[str, Any], file: str) -> _Vocabulary:
    tokens = _array(metadata, "tokens", str, file=file)
    if not tokens:
        raise inconsistent(file, "the vocabulary is empty", expected="tokens", found="none")
    kinds = _array(metadata, "token_type", int, file=file) or [int(Kind.NORMAL)] * len(tokens)
    scores = _array(metadata, "scores", float, file=file) or [0.0] * len(tokens)
    for name, array in (("token_type", kinds), ("scores", scores)):
        if len(array) != len(tokens):
            raise inconsistent(
                file, f"{GGML}{name} is not as long as {GGML}tokens", expected=f"{len(tokens):,} entries",
                found=f"{len(array):,}",
            )  # fmt: skip
    bad = next((row for row, kind in enumerate(kinds) if kind not in tuple(Kind)), None)
    if bad is not None:
        raise inconsistent(file, "a token has no type", expected="1 to 6", found=f"{kinds[bad]} for {bad}")
    wrong = next((row for row, score in enumerate(scores) if not isfinite(score)), None)
    if wrong is not None:
        raise inconsistent(file, "a score is no number", expected="numbers", found=f"{scores[wrong]} for {wrong}")
    used = _used(tokens, kinds)
    tokens, kinds, scores = tokens[:used], kinds[:used], scores[:used]
    places: dict[str, int] = {}
    for row, token in enumerate(tokens):
        if token in places:
            raise inconsistent(
                file, "two ids have one token", expected="each token once",
                found=f"{token!r} for {places[token]} and {row}",
            )  # fmt: skip
        places[token] = row
    return _Vocabulary(tokens, [Kind(kind) for kind in kinds], scores, metadata)


def _used(tokens: Sequence[str], kinds: Sequence[int]) -> int:
    """How many tokens there are before rows that are only there to fill the table."""
    used = len(tokens)
    while used > 1 and kinds[used - 1] == Kind.UNUSED and tokens[used - 1] == PADDING.format(used - 1):
        used -= 1
    return used


def _array(metadata: Mapping[str, Any], name: str, kind: type, *, file: str) -> list[Any]:
    """An array of the metadata as a list; empty where there is none."""
    value = metadata.get(f"{GGML}{name}")
    if value is None:
        return []
    listed = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(listed, list | tuple):
        raise unreadable(file, expected=f"an array in {GGML}{name}", found=repr(listed))
    items = list(cast("Sequence[object]", listed))
    legal = (int, float) if kind is float else (kind,)
    wrong = next((row for row, item in enumerate(items) if type(item) not in legal or not _is_text(item)), None)
    if wrong is not None:
        raise unreadable(file, expected=f"{kind.__name__} in {GGML}{name}", found=f"{items[wrong]!r} at {wrong}")
    return items


def _is_text(item: object) -> bool:
    return not isinstance(item, str) or is_utf8(item)


def _id(given: _Vocabulary, key: str, file: str) -> int | None:
    number = given.data.get(f"{GGML}{key}")
    if number is None:
        return None
    if type(number) is not int or not 0 <= number < len(given.tokens):
        raise inconsistent(
            file, f"{GGML}{key} is no token", expected=f"0 to {len(given.tokens) - 1}", found=repr(number)
        )
    return number


def _names(given: _Vocabulary, file: str) -> dict[str, str]:
    numbers = {role: _id(given, key, file) for role, key in ROLES.items()}
    return {role: given.tokens[number] for role, number in numbers.items() if number is not None}


def _generation(given: _Vocabulary, file: str) -> dict[str, Any]:
    """Ids that end and begin texts, under the names of ``generation_config.json``."""
    ends = [_id(given, key, file) for key in ("eos_token_id", "eot_token_id", "eom_token_id")]
    eos = list(dict.fromkeys(each for each in ends if each is not None))
    said = {
        "bos_token_id": _id(given, "bos_token_id", file), "eos_token_id": eos[0] if len(eos) == 1 else eos or None,
        "pad_token_id": _id(given, "padding_token_id", file),
    }  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def _byte_level(given: _Vocabulary, file: str) -> Tokenizer:
    pre = text_in(given.data, f"{GGML}pre", name=file)
    split = next((each for each, names in SPLITS.items() if pre is not None and pre in names.split()), None)
    if split is None or pre is None:
        raise unknown(
            file, "it is not known how this vocabulary splits texts into words",
            expected=f"tokenizer.ggml.pre: one of {', '.join(' '.join(SPLITS.values()).split())}", found=str(pre),
        )  # fmt: skip
    merges = byte_level.merges_of(_array(given.data, "merges", str, file=file), file=file)
    if not merges:
        raise inconsistent(file, "the vocabulary has no merges", expected=f"an array {GGML}merges", found="none")
    ids = {token: row for row, token in enumerate(given.tokens)}
    inner = byte_level.byte_level(
        ids, merges, file=file, split=split, nfc=pre in COMPOSED, ignore_merges=pre in WHOLE_WORDS
    )
    _add(inner, given)
    return inner


def _pieces(given: _Vocabulary, file: str) -> Tokenizer:
    if f"{GGML}scores" not in given.data or f"{GGML}token_type" not in given.data:
        raise inconsistent(
            file, "pieces have no scores or types", expected=f"arrays {GGML}scores and {GGML}token_type",
            found="not both",
        )  # fmt: skip
    texts = (token.replace(" ", SPACE) for token in given.tokens)  # some files have runs of spaces as they are read
    pieces = [Piece(*each) for each in zip(texts, given.scores, given.kinds, strict=True)]
    prefixed = given.flag("add_space_prefix")
    made = Pieces(pieces=pieces, unigram=False, prefixed=prefixed is not False, byte_fallback=True)
    return made.tokenizer(file=file)


def _unigrams(given: _Vocabulary, file: str) -> Tokenizer:
    if f"{GGML}scores" not in given.data or f"{GGML}token_type" not in given.data:
        raise inconsistent(
            file, "pieces have no scores or types", expected=f"arrays {GGML}scores and {GGML}token_type",
            found="not both",
        )  # fmt: skip
    table = given.data.get(f"{GGML}precompiled_charsmap", b"")
    if not isinstance(table, bytes):
        table = bytes(each & 255 for each in _array(given.data, "precompiled_charsmap", int, file=file))
    pieces = [Piece(*each) for each in zip(given.tokens, given.scores, given.kinds, strict=True)]
    made = Pieces(
        pieces=pieces, unigram=True, charsmap=table, prefixed=given.flag("add_space_prefix") is not False,
        squeezed=given.flag("remove_extra_whitespaces") is True,
        byte_fallback=any(piece.kind == Kind.BYTE for piece in pieces),
    )  # fmt: skip
    return made.tokenizer(file=file)


def _word_piece(given: _Vocabulary, names: Mapping[str, str], file: str) -> Tokenizer:
    """Tokens that begin a word are marked there, and those that go on are not; in BERT's file it is the other way."""
    special = (Kind.CONTROL, Kind.UNKNOWN)
    texts = [
        token if kind in special else token[1:] if token.startswith(SPACE) else word_piece.CONTINUED + token
        for token, kind in zip(given.tokens, given.kinds, strict=True)
    ]  # fmt: skip
    ids = {text: row for row, text in enumerate(texts)}
    if len(ids) != len(texts):
        raise inconsistent(file, "two ids have one token", expected="each token once", found=f"{len(ids)} different")
    unk = names.get("unk", CONVENTIONS["Bert"].names["unk"])
    lowered = given.flag("normalizer.lowercase")
    inner = word_piece.word_piece(ids, {}, unk=unk, lower_case=lowered is not False, file=file)
    _add(inner, given)
    return inner


def _add(inner: Tokenizer, given: _Vocabulary) -> None:
    """Make tokens of the types control and user-defined whole."""
    for token, kind in zip(given.tokens, given.kinds, strict=True):
        if kind in (Kind.CONTROL, Kind.USER_DEFINED):
            inner.add_tokens([AddedToken(token, normalized=False, special=kind == Kind.CONTROL)])
