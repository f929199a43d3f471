"""Tokenizers as metadata of GGUF files: what is read of them again gives the same ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from flexit.convert.sources.gguf import open_gguf
from flexit.convert.tokenizers.byte_level import LLAMA3, QWEN2
from flexit.convert.tokenizers.files import TokenizerFiles
from flexit.convert.tokenizers.gguf_metadata import tokenizer_metadata
from flexit.convert.tokenizers.gguf_vocabulary import gguf_tokenizer
from flexit.convert.tokenizers.pieces import SPACE
from flexit.errors import SourceError
from flexit.runtime.tokenizer import Tokenizer as Ours
from tests.convert.tokenizers.lines import first_difference, real_lines, written_lines
from tests.convert.tokenizers.sources import folder_of, found, opened, trained
from tests.convert.tokenizers.test_word_piece import small_vocabulary
from tests.registry import MISTRAL_V1, SMOLLM2, WORD_PIECES

GGML = "tokenizer.ggml."
BPE = {"bos_id": 1, "eos_id": 2, "unk_id": 0, "byte_fallback": True, "normalization_rule_name": "identity",
       "remove_extra_whitespaces": False}  # fmt: skip
GEMMA = {"add_dummy_prefix": False, "pad_id": 3, "pad_piece": "<pad>", "bos_piece": "<bos>", "eos_piece": "<eos>"}


def read(metadata: dict[str, Any]) -> TokenizerFiles:
    files = gguf_tokenizer(metadata)
    assert files is not None
    return files


def there_and_back(files: dict[str, bytes], folder: Path, lines: tuple[str, ...], *, more: int = 7) -> dict[str, Any]:
    """The metadata, after both tokenizers gave the same ids; the table has rows that no token has."""
    folder.mkdir(exist_ok=True)
    (folder / "given.json").write_bytes(files["tokenizer.json"])
    given = Ours.load(folder / "given.json")
    rows = given.vocab_size + more
    metadata = tokenizer_metadata(files, rows=rows)
    if f"{GGML}tokens" in metadata:
        assert len(metadata[f"{GGML}tokens"]) == rows
    again = opened(read(metadata), folder)
    assert first_difference(again.encode_all(lines), given.encode_all(lines), lines) == ""
    whole = [[each.ids for each in tokenizer.read(lines[:50])] for tokenizer in (again, given)]
    assert whole[0] == whole[1]
    return metadata


def test_one_of_ours(tmp_path: Path) -> None:
    lines = written_lines(500)
    files = {"tokenizer.json": Ours.train(lines, vocab_size=400).dumps().encode()}
    metadata = there_and_back(files, tmp_path, lines)
    assert metadata[f"{GGML}model"] == "gpt2"
    assert metadata[f"{GGML}token_type"][-1] == 5


@pytest.mark.parametrize(("pattern", "name"), [(LLAMA3, "llama3"), (QWEN2, "qwen2")])
def test_bytes_in_words_of_other_patterns(tmp_path: Path, pattern: str, name: str) -> None:
    """As the published tokenizers of Llama 3 and Qwen 2 are put together, over a vocabulary of our own."""
    lines = written_lines(500)
    inner: Any = Tokenizer.from_str(Ours.train(lines, vocab_size=400).dumps())
    made = json.loads(inner.to_str())
    vocabulary, merges = made["model"]["vocab"], [tuple(pair) for pair in made["model"]["merges"]]
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name == "llama3"))
    if name == "qwen2":
        inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False, trim_offsets=False),
    ])  # fmt: skip
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken("<|begin|>", normalized=False), AddedToken("<|end|>", normalized=False)])
    inner.add_tokens([AddedToken("<tool>", normalized=False)])
    begin = inner.token_to_id("<|begin|>")
    if name == "llama3":
        inner.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A", pair="<|begin|> $A <|begin|> $B", special_tokens=[("<|begin|>", begin)]
        )
    files = {
        "tokenizer.json": inner.to_str().encode(), "chat_template.jinja": b"{{ messages }}",
        "special_tokens_map.json": json.dumps({"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"}}).encode(),
        "generation_config.json": json.dumps({"eos_token_id": [begin + 1, begin]}).encode(),
    }  # fmt: skip
    metadata = there_and_back(files, tmp_path, (*lines, "a <tool> b<|end|>c"))
    assert metadata[f"{GGML}pre"] == name
    assert metadata[f"{GGML}add_bos_token"] is (name == "llama3")
    assert [metadata[f"{GGML}token_type"][begin + at] for at in range(3)] == [3, 3, 4]
    files_again = read(metadata)
    assert files_again.chat_template == "{{ messages }}"
    assert {role: each.token for role, each in files_again.specials.items()} == {"bos": "<|begin|>", "eos": "<|end|>"}
    assert files_again.generation == {"bos_token_id": begin, "eos_token_id": [begin + 1, begin]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("llama", {}),
        ("gemma", {**GEMMA, "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"]}),
    ],
)  # fmt: skip
def test_pieces_of_sentencepiece(tmp_path: Path, family: str, settings: dict[str, Any]) -> None:
    """Vocabularies as Llama's and Gemma's: pieces that are merged, bytes for what has none, and spaces as they are."""
    lines = written_lines(3000)
    content = trained(iter(lines), model_type="bpe", vocab_size=1200, **BPE, **settings)
    files = found(folder_of(tmp_path / "m", tokenizer__model=content, config__json={"model_type": family})).written()
    texts = (*lines[:1000], "a  b   c", "\u4e2d\u6587 \U0001f600", " x ", "<start_of_turn>user\nhi<end_of_turn>\n")
    metadata = there_and_back(files, tmp_path / "again", texts)
    assert metadata[f"{GGML}model"] == "llama"
    assert metadata[f"{GGML}add_space_prefix"] is (family == "llama")
    assert metadata[f"{GGML}add_bos_token"] is True


def test_small_word_pieces(tmp_path: Path) -> None:
    """llama.cpp marks what begins a word, and BERT's file what goes on; cased or not."""
    for cased in (False, True):
        files = bert(tmp_path / f"{cased}", small_vocabulary(), do_lower_case=not cased)
        metadata = there_and_back(files, tmp_path / f"{cased}-again", (*written_lines(800), "ABC Caf\u00e9 [MASK]"))
        assert metadata[f"{GGML}model"] == "bert"
        assert metadata.get(f"{GGML}normalizer.lowercase") is (False if cased else None)
        assert metadata[f"{GGML}tokens"][5] == SPACE + "!"
        assert metadata[f"{GGML}bos_token_id"] == metadata[f"{GGML}cls_token_id"] == 2
        assert set(read(metadata).specials) == {"unk", "sep", "pad", "cls", "mask"}


@pytest.mark.weights
@pytest.mark.slow
def test_published_word_pieces(tmp_path: Path) -> None:
    there_and_back(bert(tmp_path / "m", WORD_PIECES.path().read_bytes()), tmp_path / "again", real_lines())


def bert(folder: Path, vocabulary: bytes, **said: Any) -> dict[str, bytes]:
    config = {"model_type": "bert"}
    return found(folder_of(folder, vocab__txt=vocabulary, config__json=config, tokenizer_config__json=said)).written()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "settings", "names"),
    [
        ("t5", {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}, "spiece__model"),
        ("xlm-roberta", {"unk_id": 0, "bos_id": 1, "eos_id": 2}, "sentencepiece__bpe__model"),
    ],
)  # fmt: skip
def test_pieces_with_scores(tmp_path: Path, family: str, settings: dict[str, Any], names: str) -> None:
    """Unigram vocabularies as T5's and XLM-R's, with SentencePiece's own normalisation and runs of spaces made one."""
    content = trained(iter(written_lines(3000)), model_type="unigram", vocab_size=1200, **settings)
    files = found(folder_of(tmp_path / "m", **{names: content}, config__json={"model_type": family})).written()
    texts = (*written_lines(3000), "a  b   c\td", "\uff21 \u00bd \u4e2d\u6587", " x ", "a</s>b")
    metadata = there_and_back(files, tmp_path / "again", texts)
    assert metadata[f"{GGML}model"] == "t5"
    assert metadata[f"{GGML}remove_extra_whitespaces"] is True
    assert metadata[f"{GGML}add_bos_token"] is (family == "xlm-roberta")
    assert metadata[f"{GGML}add_eos_token"] is True
    through = {**metadata, f"{GGML}precompiled_charsmap": list(metadata[f"{GGML}precompiled_charsmap"])}  # as of a file
    assert read(through).text == read(metadata).text


@pytest.mark.slow
def test_pieces_with_scores_as_transformers_writes_them(tmp_path: Path) -> None:
    """Its tokenizers cut texts at spaces before pieces are sought, which gives the same ones."""
    settings = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    content = trained(iter(written_lines(3000)), model_type="unigram", vocab_size=1200, **settings)
    folder = folder_of(tmp_path / "m", spiece__model=content, config__json={"model_type": "t5"})
    transformers.T5TokenizerFast.from_pretrained(folder, extra_ids=10).save_pretrained(tmp_path / "theirs")
    files = {
        name: (tmp_path / "theirs" / name).read_bytes()
        for name in ("tokenizer.json", "special_tokens_map.json")
        if (tmp_path / "theirs" / name).exists()
    }
    specials = json.dumps({"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}).encode()
    metadata = there_and_back({"special_tokens_map.json": specials, **files}, tmp_path / "again", written_lines(3000))
    assert metadata[f"{GGML}model"] == "t5"


@pytest.mark.slow
def test_a_tokenizer_json_as_published_for_gemma(tmp_path: Path) -> None:
    """Its spaces are written by a step of normalisation, and a split at spaces then finds none."""
    lines = written_lines(3000)
    content = trained(iter(lines), model_type="bpe", vocab_size=1200, **BPE, **GEMMA)
    files = found(folder_of(tmp_path / "m", tokenizer__model=content, config__json={"model_type": "gemma"})).written()
    data = json.loads(files["tokenizer.json"])
    data["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    data["pre_tokenizer"] = {
        "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False,
    }  # fmt: skip
    there_and_back({**files, "tokenizer.json": json.dumps(data).encode()}, tmp_path / "again", lines[:1000])


@pytest.mark.weights
@pytest.mark.slow
def test_published_pieces(tmp_path: Path) -> None:
    files = found(folder_of(tmp_path / "m", tokenizer__model=MISTRAL_V1.path(), config__json={"model_type": "llama"}))
    there_and_back(files.written(), tmp_path / "again", real_lines(), more=0)


@pytest.mark.weights
@pytest.mark.slow
def test_published_bytes() -> None:
    """SmolLM2's own file is written again as it is, but for flags that change nothing of this kind."""
    metadata = {name: each for name, each in open_gguf(SMOLLM2.path()).metadata.items() if name.startswith("tokenizer")}
    found_again = tokenizer_metadata(read(metadata).written(), rows=len(metadata[f"{GGML}tokens"]))
    differing = {key for key in {*metadata, *found_again} if metadata.get(key) != found_again.get(key)}
    assert differing == {f"{GGML}add_space_prefix", f"{GGML}add_eos_token"}


def test_none_at_all() -> None:
    assert tokenizer_metadata({}, rows=5) == {f"{GGML}model": "no_vocab"}
    assert gguf_tokenizer({f"{GGML}model": "no_vocab"}) is None


def changed(**steps: Any) -> bytes:
    data = json.loads(Ours.train(["some words of a text"] * 3, vocab_size=300).dumps())
    return json.dumps({**data, **steps}).encode()


@pytest.mark.parametrize(
    ("content", "rows", "code"),
    [
        (changed(normalizer={"type": "Lowercase"}), 400, "FX1906"),
        (changed(pre_tokenizer={"type": "Whitespace"}), 400, "FX1906"),
        (Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).to_str().encode(), 9, "FX1906"),
        (changed(), 20, "FX1904"),
        (b"{}", 20, "FX1901"),
    ],
    ids=["lowercase", "whitespace", "words", "rows", "none"],
)  # fmt: skip
def test_what_gguf_has_no_words_for(content: bytes, rows: int, code: str) -> None:
    with pytest.raises(SourceError) as told:
        tokenizer_metadata({"tokenizer.json": content}, rows=rows)
    assert told.value.code == code


def test_what_is_put_around_a_text_must_be_sayable() -> None:
    inner: Any = Tokenizer.from_str(Ours.train(["some words of a text"] * 3, vocab_size=300).dumps())
    inner.add_special_tokens(["<x>"])
    inner.post_processor = processors.TemplateProcessing(
        single="<x> $A <x> <x>", special_tokens=[("<x>", inner.token_to_id("<x>"))]
    )
    with pytest.raises(SourceError) as told:
        tokenizer_metadata({"tokenizer.json": inner.to_str().encode()}, rows=400)
    assert told.value.code == "FX1906"
