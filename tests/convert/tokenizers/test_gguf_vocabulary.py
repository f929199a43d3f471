"""Vocabularies in GGUF metadata, against byte-pair encoding by hand, SentencePiece, and WordPiece."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from flexit.convert.sources.gguf import open_gguf
from flexit.convert.tokenizers.files import TokenizerFiles
from flexit.convert.tokenizers.gguf_vocabulary import gguf_tokenizer
from flexit.errors import SourceError
from tests.convert.tokenizers.bpe_by_hand import alphabet, digits_apart, encoder
from tests.convert.tokenizers.lines import first_difference, real_lines, written_lines
from tests.convert.tokenizers.sources import folder_of, found, opened
from tests.convert.tokenizers.test_word_piece import small_vocabulary
from tests.registry import MISTRAL_V1, SMOLLM2, WORD_PIECES, Packed

GGML = "tokenizer.ggml."


def read(metadata: dict[str, Any]) -> TokenizerFiles:
    files = gguf_tokenizer(metadata)
    assert files is not None
    return files


@cache
def smollm2() -> dict[str, Any]:
    return {name: each for name, each in open_gguf(SMOLLM2.path()).metadata.items() if name.startswith("tokenizer")}


@pytest.mark.weights
@pytest.mark.slow
def test_smollm2(tmp_path: Path) -> None:
    """Digits are set apart, as its ``tokenizer.ggml.pre`` says; the algorithm is written by hand."""
    lines, metadata = real_lines(), smollm2()
    files = read(metadata)
    tokenizer = opened(files, tmp_path)
    ids = {token: row for row, token in enumerate(metadata[f"{GGML}tokens"])}
    merges = [tuple(line.split(" ")) for line in metadata[f"{GGML}merges"]]
    by_hand = encoder(ids, merges, digits_apart)  # type: ignore[arg-type]
    usual = tuple(line for line in lines if ids.keys() >= set(bytes_of(line)))  # a few bytes are no tokens of it
    assert len(usual) > 10_000
    ours = tokenizer.encode_all(usual)
    assert first_difference(ours, [by_hand(line) for line in usual], usual) == ""
    assert [tokenizer.decode(row) for row in ours] == list(usual)
    assert tokenizer.read(["Hi"])[0].ids == tokenizer.encode("Hi")  # its metadata says that nothing is added
    assert files.chat_template == metadata["tokenizer.chat_template"]
    assert files.generation == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    assert {role: token.token for role, token in files.specials.items()} == {
        "bos": "<|im_start|>", "eos": "<|im_end|>", "pad": "<|im_end|>", "unk": "<|endoftext|>",
    }  # fmt: skip


def bytes_of(text: str) -> list[str]:
    written = alphabet()
    return [written[byte] for byte in text.encode()]


def as_gguf(packed: Packed) -> dict[str, Any]:
    """The metadata that llama.cpp's converter writes of a SentencePiece file."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(packed.path()))

    def kind(row: int) -> int:
        if model.is_unknown(row):
            return 2
        if model.is_control(row):
            return 3
        return 6 if model.is_byte(row) else 1

    rows = range(model.get_piece_size())
    return {
        f"{GGML}model": "llama", f"{GGML}tokens": [model.id_to_piece(row) for row in rows],
        f"{GGML}scores": [model.get_score(row) for row in rows], f"{GGML}token_type": [kind(row) for row in rows],
        f"{GGML}bos_token_id": 1, f"{GGML}eos_token_id": 2, f"{GGML}unknown_token_id": 0,
    }  # fmt: skip


@pytest.mark.weights
@pytest.mark.slow
def test_pieces(tmp_path: Path) -> None:
    lines = real_lines()
    original = sentencepiece.SentencePieceProcessor(model_file=str(MISTRAL_V1.path()))
    files = read(as_gguf(MISTRAL_V1))
    tokenizer = opened(files, tmp_path)
    assert first_difference(tokenizer.encode_all(lines), original.encode(list(lines)), lines) == ""
    assert tokenizer.read(["abc"])[0].ids == [1, *original.encode("abc")]
    bare = opened(read({**as_gguf(MISTRAL_V1), f"{GGML}add_bos_token": False}), tmp_path)
    assert bare.read(["abc"])[0].ids == original.encode("abc")


@pytest.mark.weights
@pytest.mark.slow
def test_word_pieces(tmp_path: Path) -> None:
    """The converter marks what begins a word, and takes the marks off what goes on."""
    check_word_pieces(WORD_PIECES.path().read_bytes(), real_lines(), tmp_path)


def test_small_word_pieces(tmp_path: Path) -> None:
    check_word_pieces(small_vocabulary(), written_lines(1000), tmp_path)


def check_word_pieces(vocabulary: bytes, lines: tuple[str, ...], tmp_path: Path) -> None:
    files = found(folder_of(tmp_path / "m", vocab__txt=vocabulary, config__json={"model_type": "bert"}))
    tokens = vocabulary.decode().removesuffix("\n").split("\n")
    special = [token.startswith("[") and token.endswith("]") and len(token) > 2 for token in tokens]
    marked = [
        token if is_special else token[2:] if token.startswith("##") and len(token) > 2 else f"▁{token}"
        for token, is_special in zip(tokens, special, strict=True)
    ]
    metadata = {
        f"{GGML}model": "bert", f"{GGML}tokens": marked, f"{GGML}token_type": [3 if each else 1 for each in special],
        f"{GGML}scores": [-1000.0] * len(tokens),
        **{f"{GGML}{key}_token_id": tokens.index(token) for key, token in (
            ("unknown", "[UNK]"), ("seperator", "[SEP]"), ("padding", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]"),
        )},
    }  # fmt: skip
    given = read(metadata)
    ours, theirs = opened(given, tmp_path / "a"), opened(files, tmp_path / "b")
    expected = [each.ids for each in theirs.read(lines)]
    assert first_difference([each.ids for each in ours.read(lines)], expected, lines) == ""
    assert given.specials == files.specials


@pytest.mark.weights
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pre": "no-such"}, "FX1903"), ({"pre": None}, "FX1903"), ({"model": "rwkv"}, "FX1903"),
        ({"token_type": [1, 2, 3]}, "FX1902"), ({"scores": [0.0]}, "FX1902"), ({"merges": []}, "FX1902"),
        ({"merges": ["a b c"]}, "FX1902"), ({"merges": ["a nosuchtoken"]}, "FX1902"), ({"tokens": []}, "FX1902"),
        ({"tokens": "abc"}, "FX1901"), ({"merges": [1, 2]}, "FX1901"), ({"bos_token_id": 10**6}, "FX1902"),
        ({"eos_token_id": -1}, "FX1902"), ({"eos_token_id": "2"}, "FX1902"), ({"add_bos_token": 1}, "FX1901"),
        ({"token_type": [9] * 49152}, "FX1902"),
    ],
    ids=str,
)  # fmt: skip
def test_metadata_that_cannot_be_used(change: dict[str, Any], code: str) -> None:
    with pytest.raises(SourceError) as caught:
        gguf_tokenizer({**smollm2(), **{f"{GGML}{name}": value for name, value in change.items()}})
    assert caught.value.code == code


def test_no_vocabulary() -> None:
    assert gguf_tokenizer({}) is None
    assert gguf_tokenizer({f"{GGML}model": "none"}) is None
