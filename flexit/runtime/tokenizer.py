"""Text to token ids and back: byte-level byte-pair encoding, trained here or read from a ``tokenizer.json``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from tokenizers import Tokenizer as _Tokenizer
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from flexit.errors import TaskError, UserError
from flexit.ir.misfits import unusable, whole_number
from flexit.ir.wording import cut
from flexit.runtime.sessions.arrays import integers_of

T = TypeVar("T")
SEPARATOR = "<|endoftext|>"
FEWEST = 257
"""Tokens: the bytes and the separator."""


def may_be_learnt(separator: str) -> bool:
    """Whether training could make the same token of the text: it is nothing, a byte, or merged within one word."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if not set(separator) <= set(split.alphabet()):
        return False
    return len(split.pre_tokenize_str(decoders.ByteLevel().decode([separator]))) <= 1


class Tokenizer:
    """A tokenizer of the ``tokenizers`` library with the few things flexit needs.

    Attributes:
        separator: the token after each document, or None.
    """

    def __init__(self, inner: Any, *, separator: str | None = None) -> None:
        self._inner = inner
        self._inner.encode_special_tokens = True  # a separator inside a text is text
        self._inner.no_truncation()  # files of others may say to cut texts unasked, or to pad each to one length
        self._inner.no_padding()
        self.separator = separator
        self._separator_id: int | None = None if separator is None else inner.token_to_id(separator)

    @classmethod
    def train(
        cls, texts: Iterable[str], *, vocab_size: int, separator: str = SEPARATOR, specials: Sequence[str] = ()
    ) -> Tokenizer:
        """Learn byte-level BPE (Sennrich et al. 2016, on bytes as in GPT-2): id 0 is the separator, then other special
        tokens, then the bytes.

        Args:
            texts: the documents.
            vocab_size: most tokens; fewer where the text has no more pairs.
            separator: the token after each document.
            specials: more tokens that no text becomes.

        Raises:
            UserError: FX2007, there are no texts, or fewer tokens are wanted than the bytes and the separator are.
        """
        if isinstance(texts, str | bytes) or not isinstance(cast("object", texts), Iterable):
            raise unusable("texts", texts, expected="several texts", cure="give a list of texts")
        vocab_size = whole_number("vocab_size", vocab_size, low=FEWEST, high=2**31 - 1)
        inner = _Tokenizer(models.BPE())
        parts: Any = inner  # the stub says that neither can be set
        parts.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        parts.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=[separator, *specials], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        inner.train_from_iterator(texts, trainer=trainer)
        return cls(inner, separator=separator)

    @classmethod
    def load(cls, path: str | Path, *, separator: str | None = None) -> Tokenizer:
        """Read a ``tokenizer.json``.

        Raises:
            UserError: FX1604, it cannot be read, is none, or lacks the separator.
        """
        text = _content(Path(path))
        try:
            inner = _Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise UserError.of(
                "FX1604", f"{path} is no tokenizer", expected="a tokenizer.json", found=str(error),
                cure="give a file that the tokenizers library saved",
            ) from error  # fmt: skip
        if separator is not None and inner.token_to_id(separator) is None:
            raise UserError.of(
                "FX1604", f"{path} has no token {separator}", expected="a token of that tokenizer", found=separator,
                cure="write a separator that it has, or null",
            )  # fmt: skip
        return cls(inner, separator=separator)

    @cached_property
    def vocab_size(self) -> int:
        """Ids there are: one more than the largest."""
        return max(self._inner.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def separator_id(self) -> int | None:
        """Id of the separator."""
        return self._separator_id

    def encode(self, text: str, *, specials: bool = False) -> list[int]:
        """Ids of a text; nothing is added.

        Args:
            text: the text.
            specials: whether special tokens that are written out in it are those tokens, as a chat template means.

        Raises:
            TaskError: FX2003, the text has halves of surrogate pairs, as bytes that are no UTF-8 become; FX2101, the
                tokenizer fails on it.
        """
        if not isinstance(cast("object", text), str):
            raise unusable("text", text, expected="a text", cure="encode texts one by one")
        _require_utf8(text)
        self._inner.encode_special_tokens = not specials
        try:
            return _reading(lambda: self._inner.encode(text, add_special_tokens=False).ids)
        finally:
            self._inner.encode_special_tokens = True

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, in parallel."""
        read = _reading(lambda: self._inner.encode_batch_fast(list(texts), add_special_tokens=False))
        return [each.ids for each in read]

    def read(
        self, texts: Sequence[str | tuple[str, str]], *, limit: int | None = None, specials: bool = False
    ) -> list[Any]:
        """Texts and pairs of texts as its template has them: with special tokens, token types and places in the text.

        Args:
            texts: texts, or pairs of them.
            limit: most tokens, special ones counted; what is longer is cut at its end, pairs at the longer text.
            specials: whether special tokens that are written out in a text are those tokens.

        Returns:
            Encodings of the ``tokenizers`` library.

        Raises:
            TaskError: FX2003, a text has halves of surrogate pairs; FX2101, the tokenizer fails on it.
        """
        for given in texts:
            for text in (given,) if isinstance(given, str) else given:
                _require_utf8(text)
        self._inner.encode_special_tokens = not specials
        if limit is not None:
            self._inner.enable_truncation(limit)
        try:
            return _reading(lambda: self._inner.encode_batch(list(texts)))
        finally:
            self._inner.encode_special_tokens = True
            self._inner.no_truncation()

    def read_words(self, words: Sequence[str], *, limit: int | None = None) -> Any:
        """A text that comes in words, as its template has it; ``word_ids`` of what is given say which word each is of.

        Args:
            words: of one text, in order.
            limit: most tokens, special ones counted; what is longer is cut at its end.

        Returns:
            An encoding of the ``tokenizers`` library.

        Raises:
            TaskError: FX2003, a word has halves of surrogate pairs; FX2101, the tokenizer fails on it.
        """
        for word in words:
            _require_utf8(word)
        if limit is not None:
            self._inner.enable_truncation(limit)
        try:
            return _reading(lambda: self._inner.encode(list(words), is_pretokenized=True))
        finally:
            self._inner.no_truncation()

    def ending(self) -> Tokenizer:
        """The same tokenizer, whose template ends each text with the separator, if it has one and adds nothing yet.

        This is how models of a source and a target read sources (T5, BART, Marian).
        """
        if self.separator is None or self._separator_id is None or self.added_to(pair=False):
            return self
        inner = _Tokenizer.from_str(self.dumps())
        end: Any = {"id": "end", "ids": [self._separator_id], "tokens": [self.separator]}
        parts: Any = inner  # the stub says that it cannot be set
        parts.post_processor = processors.TemplateProcessing(
            single=["$A", "end"], pair=["$A", "end", "$B", "end"], special_tokens=[end]
        )
        return Tokenizer(inner, separator=self.separator)

    def added_to(self, *, pair: bool) -> int:
        """Special tokens that the template adds to a text, or to a pair."""
        return self._inner.num_special_tokens_to_add(pair)

    def id_of(self, token: str) -> int | None:
        """The id of a token, if it is one."""
        return self._inner.token_to_id(token)

    def token_of(self, number: int) -> str:
        """The token of an id, as the vocabulary writes it."""
        return self._inner.id_to_token(number) or ""

    @property
    def is_of_bytes(self) -> bool:
        """Whether each character of its vocabulary stands for a byte, as in GPT-2."""
        decoder = self._inner.decoder
        return decoder is not None and decoder.decode(["\u0120"]) == " "

    @property
    def specials(self) -> dict[str, int]:
        """Special tokens and their ids."""
        added = self._inner.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no UTF-8 become the replacement character.

        Raises:
            TaskError: FX2003, they are no ids.
        """
        found = integers_of(ids)
        if found is None or any(not 0 <= number < 2**32 for number in found):
            raise TaskError.of(
                "FX2003", "these are no token ids", path="ids", expected="a list of integers of at least 0",
                found=str(ids)[:60], cure="give the ids of one text",
            )  # fmt: skip
        return self._inner.decode(found, skip_special_tokens=True)

    def dumps(self) -> str:
        """The content of its ``tokenizer.json``."""
        return self._inner.to_str(pretty=True)

    @property
    def fingerprint(self) -> str:
        """sha256 of :meth:`dumps`, hexadecimal."""
        return hashlib.sha256(self.dumps().encode()).hexdigest()


def _content(path: Path) -> str:
    """The text of a ``tokenizer.json``.

    Raises:
        UserError: FX1604, there is no such file, the system refused, or it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError.of(
            "FX1604", f"{path} cannot be read", expected="a tokenizer.json", found=error.strerror or str(error),
            cure="check the path and its permissions",
        ) from error  # fmt: skip
    except UnicodeDecodeError as error:
        raise UserError.of(
            "FX1604", f"{path} is not UTF-8 text", expected="a tokenizer.json",
            found=f"byte 0x{error.object[error.start]:02x} at offset {error.start}",
            cure="give a file that the tokenizers library saved",
        ) from error  # fmt: skip


def _reading(read: Callable[[], T]) -> T:
    """What the library makes of texts; a pattern of a ``tokenizer.json`` may give up, which it tells by a panic."""
    try:
        return read()
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise TaskError.of(
                "FX2101", "the tokenizer fails on the text", path="text", expected="a text that it can read",
                found=cut(str(error)), cure="give another text, or the tokenizer.json of the model",
            ) from None  # fmt: skip
        raise


def _require_utf8(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TaskError.of(
            "FX2003", "the text is not UTF-8", expected="characters",
            found=f"{text[error.start]!a} at {error.start}", cure="give the text in UTF-8",
        ) from error  # fmt: skip
