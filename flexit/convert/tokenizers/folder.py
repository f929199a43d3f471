"""The tokenizer of a folder: ``tokenizer.json``, or what its vocabulary files say in that form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from flexit.convert.sources.inside import has_file
from flexit.convert.tokenizers import byte_level, word_piece
from flexit.convert.tokenizers.chat_templates import chat_templates_of
from flexit.convert.tokenizers.contents import bytes_of, flag_in, object_of, text_of
from flexit.convert.tokenizers.conventions import Chosen, Convention, convention_of
from flexit.convert.tokenizers.files import GENERATION, TOKENIZER, TokenizerFiles, read_tokenizer
from flexit.convert.tokenizers.refusal import inconsistent
from flexit.convert.tokenizers.sentence_piece import sentence_piece
from flexit.convert.tokenizers.specials import ADDED, CONFIG, MAP, Declared, add, found
from flexit.convert.tokenizers.template import template

SENTENCE_PIECE = {
    "tokenizer.model": ("Llama", "Gemma", "T5"),
    "spiece.model": ("T5", "Albert"),
    "sentencepiece.bpe.model": ("XLMRoberta", "Camembert"),
    "spm.model": ("DebertaV2",),
}
"""SentencePiece files, and the conventions that fit them."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What the JSON files beside a vocabulary say."""

    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    declared: Declared

    @classmethod
    def of(cls, folder: Path) -> _Said:
        tokenizer = object_of(folder, CONFIG)
        declared = Declared.of(tokenizer, object_of(folder, MAP), object_of(folder, ADDED))
        return cls(object_of(folder, "config.json"), tokenizer, declared)

    def chosen(self, among: tuple[str, ...], file: str) -> Chosen:
        return convention_of(self.config, self.tokenizer, among=among, file=file)


def find_tokenizer(folder: Path) -> TokenizerFiles | None:
    """The tokenizer of a model's folder; None where it has none.

    ``tokenizer.json`` is taken as it is. Without it ``vocab.txt``, ``vocab.json`` with ``merges.txt``, or a file of
    SentencePiece is converted, as the model's tokenizer class or type says.

    Raises:
        SourceError: FX1803 to FX1807 or FX1901, a file cannot be read; FX1902, the vocabulary contradicts itself;
            FX1903, the tokenizer is of a kind that is not converted; FX1905, a special token is missing; FX1825, a
            library is missing.
    """
    said = _Said.of(folder)
    made = _given(folder, said) or _word_piece(folder, said) or _byte_level(folder, said)
    made = made or _sentence_piece(folder, said)
    if made is None:
        return None
    inner, names, file = made
    return TokenizerFiles(
        text=inner.to_str(pretty=True), specials=found(inner, names, file=file),
        chat_templates=chat_templates_of(folder, said.tokenizer),
        generation=object_of(folder, GENERATION) if has_file(folder, GENERATION) else None,
    )  # fmt: skip


_Made = tuple[Tokenizer, Mapping[str, str], str]
"""A tokenizer, the token of each role, and the file that it is from."""


def _given(folder: Path, said: _Said) -> _Made | None:
    if not has_file(folder, TOKENIZER):
        return None
    inner = read_tokenizer(text_of(folder, TOKENIZER), file=TOKENIZER)
    add(inner, said.declared, said.declared.names, file=CONFIG)
    return inner, said.declared.names, TOKENIZER


def _word_piece(folder: Path, said: _Said) -> _Made | None:
    file = "vocab.txt"
    if not has_file(folder, file):
        return None
    chosen = said.chosen(("Bert", "MPNet"), file)
    vocabulary = word_piece.vocabulary_of(text_of(folder, file), file=file)
    names = _names(chosen.convention, said.declared)
    inner = word_piece.word_piece(
        vocabulary, said.tokenizer, unk=names["unk"], lower_case=chosen.convention.lower_case, file=file
    )
    return _finished(inner, chosen.convention, said, file=file)


def _byte_level(folder: Path, said: _Said) -> _Made | None:
    file, merges = "vocab.json", "merges.txt"
    if not has_file(folder, file):
        return None
    chosen = said.chosen(("GPT2", "Qwen2", "Roberta"), file)
    if not has_file(folder, merges):
        raise inconsistent(
            merges, "the vocabulary has no merges", expected="vocab.json and merges.txt", found="vocab.json alone"
        )
    vocabulary = byte_level.vocabulary_of(object_of(folder, file), file=file)
    pairs = byte_level.merges_of(text_of(folder, merges).split("\n"), file=merges)
    inner = byte_level.byte_level(
        vocabulary, pairs, file=merges, nfc=chosen.name == "Qwen2",
        split=byte_level.QWEN2 if chosen.name == "Qwen2" else byte_level.GPT2,
        add_prefix_space=flag_in(said.tokenizer, "add_prefix_space", name=CONFIG) is True,
    )  # fmt: skip
    return _finished(inner, chosen.convention, said, file=file)


def _sentence_piece(folder: Path, said: _Said) -> _Made | None:
    for name, among in SENTENCE_PIECE.items():
        if has_file(folder, name):
            chosen = said.chosen(among, name)
            inner = sentence_piece(bytes_of(folder, name), chosen, said.tokenizer, file=name)
            return _finished(inner, chosen.convention, said, file=name)
    return None


def _names(convention: Convention, declared: Declared) -> dict[str, str]:
    return {**convention.names, **declared.names}


def _finished(inner: Tokenizer, convention: Convention, said: _Said, *, file: str) -> _Made:
    """With its special tokens, and what is added around texts."""
    names = {
        role: token for role, token in _names(convention, said.declared).items()
        if role in said.declared.names or role in convention.appended or inner.token_to_id(token) is not None
    }  # fmt: skip
    add(inner, said.declared, names, file=file)
    made = template(inner, convention, names=names, config=said.tokenizer, file=file)
    if made is not None:
        parts: Any = inner  # the stub says that it cannot be set
        parts.post_processor = made
    return inner, names, file
