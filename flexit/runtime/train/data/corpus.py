"""A corpus: a tokenizer and the token ids of all documents, made once in a folder and read from there by memory map."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import flexit
from flexit.errors import CheckpointError, UserError
from flexit.files.folder import recover, writing
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.config import Bpe, File
from flexit.runtime.train.config import Tokenizer as TokenizerConfig
from flexit.runtime.train.data.text import Document, fingerprint, texts

MARKER = "data.json"
Tokens = npt.NDArray[np.unsignedinteger[Any]]
OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""

_CHUNK = 64
"""Documents encoded at once."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Token ids of all documents in a row, each ended by the separator if there is one.

    Attributes:
        tokens: memory-mapped ids.
        tokenizer: which made them.
        fingerprint: of the documents' contents.
    """

    tokens: Tokens
    tokenizer: Tokenizer
    fingerprint: str

    def split(self, share: float | None) -> tuple[Tokens, Tokens]:
        """The tokens to train on, and the last ``share`` of all tokens, held out."""
        held_out = 0 if share is None else round(len(self.tokens) * share)
        return self.tokens[: len(self.tokens) - held_out], self.tokens[len(self.tokens) - held_out :]


def open_corpus(folder: Path) -> Corpus | None:
    """The corpus in a folder, or None where there is none yet.

    Raises:
        CheckpointError: FX1201, the folder is damaged.
    """
    recover(folder)
    if not folder.exists():
        return None
    try:
        meta = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        tokens = np.memmap(folder / "tokens.bin", dtype=np.dtype(meta["dtype"]), mode="r", shape=(meta["tokens"],))
        tokenizer = Tokenizer.load(folder / "tokenizer.json", separator=meta["separator"])
        known = str(meta["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError.of(
            "FX1201", f"{folder} is no tokenised corpus", expected=f"{MARKER}, tokens.bin and tokenizer.json",
            found=error.problems[0].found if isinstance(error, UserError) else str(error),
            cure="delete the folder; it is made again",
        ) from error  # fmt: skip
    return Corpus(tokens, tokenizer, known)


def make_corpus(
    folder: Path, documents: Sequence[Document], tokenizer: Tokenizer, *, on_progress: OnProgress | None = None
) -> Corpus:
    """Encode documents into a folder, replacing the corpus in it.

    Raises:
        UserError: a document is no text, or the folder cannot be written.
    """
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    with writing(folder, marker=MARKER, force=True) as temporary:
        count = 0
        with (temporary / "tokens.bin").open("wb") as file:
            for done, ids in _encoded(documents, tokenizer):
                file.write(np.asarray(ids, dtype).tobytes())
                count += len(ids)
                if on_progress is not None:
                    on_progress("encoding text", done, len(documents))
        if count == 0:  # an empty file cannot be mapped
            (temporary / "tokens.bin").write_bytes(np.zeros(1, dtype).tobytes())
        (temporary / "tokenizer.json").write_text(tokenizer.dumps(), encoding="utf-8")
        meta = {
            "flexit": flexit.__version__, "fingerprint": fingerprint(documents), "separator": tokenizer.separator,
            "dtype": dtype.name, "tokens": count, "documents": len(documents),
            "files": ["tokens.bin", "tokenizer.json"],
        }  # fmt: skip
        (temporary / MARKER).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    corpus = open_corpus(folder)
    assert corpus is not None
    return corpus


def make_tokenizer(
    config: TokenizerConfig, documents: Sequence[Document], base: Path, *, vocab_size: int,
    on_progress: OnProgress | None = None,
) -> Tokenizer:  # fmt: skip
    """The tokenizer that a run config asks for, trained on the documents or read.

    Args:
        config: which.
        documents: to train on.
        base: folder that paths are relative to.
        vocab_size: rows of the model's table, where the config leaves the size out.
        on_progress: told of documents read.
    """
    if isinstance(config, File):
        return Tokenizer.load(base / config.path, separator=config.separator)
    assert isinstance(config, Bpe)
    read = _counted(texts(documents), len(documents), on_progress)
    return Tokenizer.train(read, vocab_size=config.vocab_size or vocab_size, separator=config.separator)


def _counted(read: Iterator[str], total: int, on_progress: OnProgress | None) -> Iterator[str]:
    for number, text in enumerate(read):
        if on_progress is not None:
            on_progress("learning the vocabulary", number, total)
        yield text


def _encoded(documents: Sequence[Document], tokenizer: Tokenizer) -> Iterator[tuple[int, list[int]]]:
    """Documents done, and the ids of the last chunk of them."""
    end = [] if tokenizer.separator_id is None else [tokenizer.separator_id]
    for start in range(0, len(documents), _CHUNK):
        chunk = documents[start : start + _CHUNK]
        yield start + len(chunk), [id_ for ids in tokenizer.encode_all(list(texts(chunk))) for id_ in (*ids, *end)]
