"""``vocab.txt``, against transformers on 10,000 real lines, and against the published ``tokenizer.json`` of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer as Inner

from tests.convert.tokenizers.lines import first_difference, real_lines, written_lines
from tests.convert.tokenizers.sources import folder_of, found, opened
from tests.registry import WORD_PIECE_JSON, WORD_PIECES

BERT = {"model_type": "bert"}


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        {}, {"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False},
    ],
    ids=["silent", "cased", "accents", "chinese"],
)  # fmt: skip
def test_a_published_vocabulary(said: dict[str, Any], tmp_path: Path) -> None:
    lines = real_lines() if not said else real_lines()[::4]
    folder = folder_of(tmp_path / "m", vocab__txt=WORD_PIECES.path(), config__json=BERT, tokenizer_config__json=said)
    files = found(folder)
    tokenizer, reference = opened(files, tmp_path), transformers.BertTokenizer.from_pretrained(folder, **said)
    theirs = reference(list(lines), split_special_tokens=True)["input_ids"]
    assert first_difference([each.ids for each in tokenizer.read(lines)], theirs, lines) == ""
    pair = tokenizer.read([("one text", "and another")])[0]
    expected = reference("one text", "and another")
    assert (pair.ids, pair.type_ids) == (expected["input_ids"], expected["token_type_ids"])
    assert [tokenizer.decode(row) for row in theirs[:500]] == [
        reference.decode(row, skip_special_tokens=True, clean_up_tokenization_spaces=False) for row in theirs[:500]
    ]


@pytest.mark.weights
def test_the_published_conversion_is_the_same(tmp_path: Path) -> None:
    """The package has both forms, and it was not this library that made one of the other."""
    files = found(folder_of(tmp_path / "m", vocab__txt=WORD_PIECES.path(), config__json=BERT))
    ours, theirs = json.loads(files.text), json.loads(WORD_PIECE_JSON.path().read_text(encoding="utf-8"))
    assert {key: ours["model"][key] for key in theirs["model"]} == theirs["model"]
    for part in ("normalizer", "pre_tokenizer", "added_tokens", "decoder"):
        mine, other = ours[part], theirs[part]
        key = "id" if part == "added_tokens" else None
        assert (sorted(mine, key=lambda each: each[key]) if key else mine) == other
    assert {role: token.id for role, token in files.specials.items()} == {
        "unk": 100, "sep": 102, "pad": 0, "cls": 101, "mask": 103,
    }  # fmt: skip


def small_vocabulary() -> bytes:
    letters = [chr(code) for code in range(33, 127)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), "self"]
    return "\n".join([*words, "import", "##port", "##ing"]).encode()


def test_a_small_vocabulary(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", vocab__txt=small_vocabulary(), config__json={"model_type": "distilbert"})
    tokenizer, reference = opened(found(folder), tmp_path), transformers.BertTokenizer.from_pretrained(folder)
    lines = written_lines(1000)
    theirs = reference(list(lines), split_special_tokens=True)["input_ids"]
    assert first_difference([each.ids for each in tokenizer.read(lines)], theirs, lines) == ""


def test_tokens_that_are_added(tmp_path: Path) -> None:
    n = len(small_vocabulary().split(b"\n"))
    added = {"content": "<new>", "special": False, "normalized": True}
    folder = folder_of(
        tmp_path / "m", vocab__txt=small_vocabulary(), config__json=BERT, added_tokens__json={"<other>": n + 1},
        tokenizer_config__json={"added_tokens_decoder": {str(n): added}, "mask_token": "<other>"},
        special_tokens_map__json={"mask_token": "[MASK]", "sep_token": {"content": "[SEP]", "lstrip": False}},
    )  # fmt: skip
    files = found(folder)
    tokenizer = opened(files, tmp_path)
    assert (files.specials["mask"].id, files.specials["sep"].id, tokenizer.id_of("<new>")) == (n + 1, 3, n)
    assert tokenizer.encode("a<new>") == [tokenizer.id_of("a"), n]
    assert files.n_ids == n + 2


def test_a_tokenizer_json_comes_first(tmp_path: Path) -> None:
    inner = Inner.from_str(found(folder_of(tmp_path / "m", vocab__txt=small_vocabulary(), config__json=BERT)).text)
    inner.add_tokens(["<mine>"])
    folder = folder_of(
        tmp_path / "n", tokenizer__json=inner.to_str().encode(), vocab__txt=small_vocabulary(),
        tokenizer_config__json={"bos_token": "<begin>", "pad_token": "[PAD]"},
        generation_config__json={"eos_token_id": 3},
    )  # fmt: skip
    files = found(folder)
    assert files.specials["bos"].id == inner.get_vocab_size() == files.n_ids - 1
    assert (files.specials["pad"].id, files.generation) == (0, {"eos_token_id": 3})
    assert opened(files, tmp_path).id_of("<mine>") == inner.get_vocab_size() - 1
