"""The tokenizer of an opened source fits its model, whether a folder has it or a GGUF file."""

from __future__ import annotations

from pathlib import Path

import pytest

import flexit
from flexit.convert.sources.gguf import GgufFile
from flexit.convert.sources.source import Source
from flexit.convert.tokenizers.gguf_vocabulary import GGML
from flexit.convert.tokenizers.of_source import tokenizer_of
from flexit.errors import SourceError
from tests.convert.tokenizers.sources import folder_of
from tests.convert.tokenizers.test_word_piece import small_vocabulary


def test_a_folder(tmp_path: Path) -> None:
    folder_of(tmp_path, vocab__txt=small_vocabulary(), config__json={"model_type": "bert"})
    source = Source(config={}, tensors={}, folder=tmp_path, place="here")
    n_ids = len(small_vocabulary().split(b"\n"))
    fits = flexit.load_spec("tiny-bert-classifier", sets=[f"blocks.embed.vocab_size={n_ids}"])
    files = tokenizer_of(source, fits)
    assert files is not None and files.n_ids == n_ids
    with pytest.raises(SourceError) as caught:
        tokenizer_of(source, flexit.load_spec("tiny-bert-classifier", sets=[f"blocks.embed.vocab_size={n_ids - 1}"]))
    problem = caught.value.problems[0]
    assert (problem.code, problem.found) == ("FX1904", f"{n_ids} ids") and str(n_ids - 1) in problem.expected


def test_a_gguf_file(tmp_path: Path) -> None:
    metadata = {
        f"{GGML}model": "gpt2", f"{GGML}pre": "gpt-2", f"{GGML}tokens": ["a", "b", "ab"], f"{GGML}merges": ["a b"],
        "tokenizer.chat_template": "{{ messages }}",
    }  # fmt: skip
    gguf = GgufFile(path=tmp_path / "x.gguf", metadata=metadata, tensors={}, formats={})
    source = Source(config={}, tensors={}, folder=None, place="x.gguf", gguf=gguf)
    files = tokenizer_of(source, flexit.load_spec("tiny-gpt2"))
    assert files is not None and (files.n_ids, files.chat_template) == (3, "{{ messages }}")


def test_neither(tmp_path: Path) -> None:
    spec = flexit.load_spec("tiny-gpt2")
    for folder in (None, tmp_path):
        assert tokenizer_of(Source(config={}, tensors={}, folder=folder, place="x"), spec) is None
