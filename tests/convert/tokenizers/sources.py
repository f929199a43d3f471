"""Folders of tokenizer files, as models have them."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from flexit.convert.tokenizers.files import TokenizerFiles
from flexit.convert.tokenizers.folder import find_tokenizer
from flexit.runtime.tokenizer import Tokenizer


def folder_of(folder: Path, **files: Path | bytes | object) -> Path:
    """A folder of files: ``a__b`` is called ``a.b``; paths are copied, what is no bytes is written as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        file = folder / name.replace("__", ".")
        if isinstance(content, Path):
            shutil.copyfile(content, file)
        else:
            file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def found(folder: Path) -> TokenizerFiles:
    files = find_tokenizer(folder)
    assert files is not None
    return files


def opened(files: TokenizerFiles, folder: Path) -> Tokenizer:
    """The tokenizer as the rest of the library reads it."""
    folder.mkdir(exist_ok=True)
    files.write(folder)
    return Tokenizer.load(folder / "tokenizer.json")


def trained(lines: Iterator[str], **settings: Any) -> bytes:
    """A SentencePiece model of some lines."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_writer=out, minloglevel=2, num_threads=1, character_coverage=0.999, **settings
    )
    return out.getvalue()
