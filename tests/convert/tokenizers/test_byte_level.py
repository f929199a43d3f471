"""``vocab.json`` with ``merges.txt``, against the algorithm written by hand and transformers, on 10,000 real lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from flexit.runtime.tokenizer import Tokenizer
from tests.convert.tokenizers.bpe_by_hand import encoder, words
from tests.convert.tokenizers.lines import first_difference, real_lines, written_lines
from tests.convert.tokenizers.sources import folder_of, found, opened
from tests.registry import GPT2_MERGES, GPT2_VOCABULARY

GPT2 = {"model_type": "gpt2"}


def pairs_of(text: str) -> list[tuple[str, str]]:
    rows = (line.split(" ") for line in text.split("\n")[1:] if line)
    return [(left, right) for left, right in rows]


@pytest.mark.weights
@pytest.mark.slow
def test_a_published_vocabulary(tmp_path: Path) -> None:
    lines = real_lines()
    folder = folder_of(
        tmp_path / "m", vocab__json=GPT2_VOCABULARY.path(), merges__txt=GPT2_MERGES.path(), config__json=GPT2
    )
    files = found(folder)
    tokenizer = opened(files, tmp_path)
    ids = json.loads(GPT2_VOCABULARY.path().read_text(encoding="utf-8"))
    by_hand = encoder(ids, pairs_of(GPT2_MERGES.path().read_text(encoding="utf-8")), words)
    ours = tokenizer.encode_all(lines)
    assert first_difference(ours, [by_hand(line) for line in lines], lines) == ""
    assert [tokenizer.decode(row) for row in ours] == list(lines)
    reference = transformers.GPT2Tokenizer.from_pretrained(folder)
    assert first_difference(ours, reference(list(lines), split_special_tokens=True)["input_ids"], lines) == ""
    assert {role: token.id for role, token in files.specials.items()} == dict.fromkeys(("bos", "eos", "unk"), 50256)
    assert files.n_ids == 50257


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A vocabulary with RoBERTa's special tokens, as two files."""
    inner = json.loads(Tokenizer.train(written_lines(3000), vocab_size=700, separator="<s>").dumps())
    tokens = list(inner["model"]["vocab"])
    tokens += ["<pad>", "</s>", "<unk>", "<mask>"]
    merges = ["#version: 0.2", *(" ".join(pair) for pair in inner["model"]["merges"]), ""]
    return {"vocab__json": {token: row for row, token in enumerate(tokens)}, "merges__txt": "\n".join(merges).encode()}


@pytest.mark.parametrize("spaced", [False, True])
def test_roberta(small: dict[str, Any], spaced: bool, tmp_path: Path) -> None:
    said = {"add_prefix_space": spaced, "tokenizer_class": "RobertaTokenizer"}
    folder = folder_of(tmp_path / "m", **small, tokenizer_config__json=said)
    files = found(folder)
    lines = written_lines(1000)
    tokenizer = opened(files, tmp_path)
    reference = transformers.RobertaTokenizer.from_pretrained(folder, add_prefix_space=spaced)
    theirs = reference(list(lines), split_special_tokens=True)["input_ids"]
    assert first_difference([each.ids for each in tokenizer.read(lines)], theirs, lines) == ""
    assert tokenizer.read([("one", "two")])[0].ids == reference("one", "two")["input_ids"]
    assert {role: token.id for role, token in files.specials.items()} == {
        role: getattr(reference, f"{role}_token_id") for role in files.specials
    }
    masked = tokenizer.read(["a <mask> b"], specials=True)[0].ids  # the mask takes the space before it along
    assert masked == [
        0,
        *tokenizer.encode("a"),
        reference.mask_token_id,
        *tokenizer.encode(" b"),
        reference.eos_token_id,
    ]


def test_qwen2(small: dict[str, Any], tmp_path: Path) -> None:
    end = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    folder = folder_of(tmp_path / "m", **small, config__json={"model_type": "qwen2"}, tokenizer_config__json=end)
    tokenizer = opened(found(folder), tmp_path)
    reference = transformers.Qwen2Tokenizer.from_pretrained(folder)
    lines = written_lines(2000)
    theirs = reference(list(lines), split_special_tokens=True)["input_ids"]
    assert first_difference([each.ids for each in tokenizer.read(lines)], theirs, lines) == ""


def test_what_the_folder_says_is_added(small: dict[str, Any], tmp_path: Path) -> None:
    said = {"tokenizer_class": "GPT2TokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = opened(found(folder_of(tmp_path / "a", **small, tokenizer_config__json=said)), tmp_path)
    plain = tokenizer.encode("def f")
    assert tokenizer.read(["def f"])[0].ids == plain
    begun = folder_of(tmp_path / "b", **small, tokenizer_config__json={**said, "add_bos_token": True})
    assert opened(found(begun), tmp_path).read(["def f"])[0].ids == [0, *plain]
