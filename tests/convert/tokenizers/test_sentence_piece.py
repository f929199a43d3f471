"""SentencePiece files, against SentencePiece itself on 10,000 real lines, and against the families' own classes."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers

from flexit.convert.tokenizers.folder import find_tokenizer
from flexit.errors import SourceError
from tests.convert.tokenizers.lines import first_difference, real_lines, written_lines
from tests.convert.tokenizers.sources import folder_of, found, opened, trained
from tests.registry import MISTRAL_V1, MISTRAL_V3, Packed

T5_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
XLMR_IDS = {"unk_id": 0, "bos_id": 1, "eos_id": 2}
ALBERT_IDS = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "control_symbols": ["[CLS]", "[SEP]", "[MASK]"]}
TEXTS = ["Hello world, this is a test.", "A second one: naïve café?", "x"]


@cache
def made(kind: str, **settings: Any) -> bytes:
    return trained(
        iter(written_lines(6000)), model_type=kind, vocab_size=1500,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()},
    )  # fmt: skip


def model(kind: str, ids: dict[str, Any], **settings: Any) -> bytes:
    given = {**ids, **settings}
    return made(kind, **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def ids_of(content: bytes, lines: tuple[str, ...]) -> list[list[int]]:
    return sentencepiece.SentencePieceProcessor(model_proto=content).encode(list(lines))


def comparable(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Lines but those with a mark on a letter that Unicode has no composed character for.

    The tokenizers library looks such a letter and its marks up in the table of characters as one and loses the marks.
    """
    return tuple(line for line in lines if not any(map(unicodedata.combining, unicodedata.normalize("NFC", line))))


def but_for_ties(ours: list[list[int]], theirs: list[list[int]]) -> list[list[int]]:
    """Ours, with what is the same pieces in another order, whose scores have one sum, as theirs; few may be."""
    ties = [row for row, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b and sorted(a) == sorted(b)]
    assert len(ties) <= len(ours) // 100
    return [theirs[row] if row in ties else each for row, each in enumerate(ours)]


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("packed", [MISTRAL_V1, MISTRAL_V3], ids=["v1", "v3"])
def test_a_published_llama_vocabulary(packed: Packed, tmp_path: Path) -> None:
    lines = real_lines()
    files = found(folder_of(tmp_path / "model", tokenizer__model=packed.path(), config__json={"model_type": "mistral"}))
    tokenizer = opened(files, tmp_path)
    theirs = ids_of(packed.path().read_bytes(), lines)
    assert first_difference(tokenizer.encode_all(lines), theirs, lines) == ""
    original = sentencepiece.SentencePieceProcessor(model_file=str(packed.path()))
    assert [tokenizer.decode(ids) for ids in theirs] == original.decode(theirs)
    assert tokenizer.read(["abc"])[0].ids == [1, *original.encode("abc")]
    assert {role: token.id for role, token in files.specials.items()} == {"bos": 1, "eos": 2, "unk": 0}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize(
    ("count", "settings"),
    [
        (10_000, {}), (3000, {"add_dummy_prefix": False, "byte_fallback": True}),
        (3000, {"remove_extra_whitespaces": False}),
        (3000, {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "split_by_whitespace": False,
                "byte_fallback": True}),
    ],
    ids=["default", "no-prefix", "spaces", "across-words"],
)  # fmt: skip
def test_every_way_to_train(kind: str, count: int, settings: dict[str, Any], tmp_path: Path) -> None:
    content = model(kind, T5_IDS, **settings)
    lines = comparable(written_lines(count))
    files = found(folder_of(tmp_path / "m", spiece__model=content, config__json={"model_type": "t5"}))
    tokenizer = opened(files, tmp_path)
    theirs = ids_of(content, lines)
    ours = tokenizer.encode_all(lines)
    assert first_difference(but_for_ties(ours, theirs) if kind == "unigram" else ours, theirs, lines) == ""
    if "byte_fallback" in settings:
        original = sentencepiece.SentencePieceProcessor(model_proto=content)
        assert [tokenizer.decode(ids) for ids in theirs] == original.decode(theirs)


@pytest.mark.slow
def test_symbols_of_the_user(tmp_path: Path) -> None:
    lines = comparable(written_lines(4000))
    symbols = {"user_defined_symbols": ["(", ")", "£", "self.", "▁▁▁▁"]}
    plain = {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
    for kind, settings in (("unigram", symbols), ("bpe", symbols | plain)):
        content = model(kind, T5_IDS, **settings)
        files = found(folder_of(tmp_path / kind, spiece__model=content, config__json={"model_type": "t5"}))
        ours, theirs = opened(files, tmp_path).encode_all(lines), ids_of(content, lines)
        assert first_difference(but_for_ties(ours, theirs), theirs, lines) == ""


def test_symbols_of_the_user_in_normalised_texts_are_refused(tmp_path: Path) -> None:
    content = model("bpe", T5_IDS, user_defined_symbols=["self."])
    with pytest.raises(SourceError) as caught:
        find_tokenizer(folder_of(tmp_path, spiece__model=content, config__json={"model_type": "t5"}))
    assert caught.value.code == "FX1903"


def test_text_never_becomes_a_control_piece(tmp_path: Path) -> None:
    for kind in ("unigram", "bpe"):
        content = model(kind, T5_IDS, byte_fallback=True)
        files = found(folder_of(tmp_path / kind, spiece__model=content, config__json={"model_type": "t5"}))
        tokenizer = opened(files, tmp_path)
        for text in ("a</s>b", "<pad>", "<unk> </s></s>", "<0x0A>", "<extra_id_3>"):
            tokens = [tokenizer.token_of(number) for number in tokenizer.encode(text)]
            assert not {"</s>", "<pad>", "<unk>", "<0x0A>", "<extra_id_3>"} & set(tokens)
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_t5(tmp_path: Path) -> None:
    content = model("unigram", T5_IDS)
    for said, count in (({}, 100), ({"extra_ids": 7}, 7)):
        folder = folder_of(
            tmp_path / str(count), spiece__model=content, config__json={"model_type": "t5"},
            tokenizer_config__json={"tokenizer_class": "T5Tokenizer", **said},
        )  # fmt: skip
        files = found(folder)
        tokenizer, reference = opened(files, tmp_path), transformers.T5Tokenizer.from_pretrained(folder, **said)
        assert [each.ids for each in tokenizer.read(TEXTS)] == [reference(text)["input_ids"] for text in TEXTS]
        assert tokenizer.read([(TEXTS[0], TEXTS[1])])[0].ids == reference(TEXTS[0], TEXTS[1])["input_ids"]
        assert files.n_ids == 1500 + count == len(reference)
        for sentinel in ("<extra_id_0>", f"<extra_id_{count - 1}>"):
            assert tokenizer.id_of(sentinel) == reference.convert_tokens_to_ids(sentinel)
        assert {role: token.id for role, token in files.specials.items()} == {"eos": 1, "unk": 2, "pad": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "reference"),
    [("xlm-roberta", transformers.XLMRobertaTokenizer), ("camembert", transformers.CamembertTokenizer)],
)
def test_rows_of_fairseq(model_type: str, reference: Any, tmp_path: Path) -> None:
    """Both have rows of their own in front; the original looks them up by hand."""
    content, lines = model("unigram", XLMR_IDS), comparable(written_lines(10_000))
    folder = folder_of(tmp_path / "m", sentencepiece__bpe__model=content, config__json={"model_type": model_type})
    files = found(folder)
    tokenizer, theirs = opened(files, tmp_path), reference.from_pretrained(folder)
    offset = {"xlm-roberta": 1, "camembert": 4}[model_type]
    expected = [[3 if number == 0 else number + offset for number in row] for row in ids_of(content, lines)]
    ours = tokenizer.encode_all(lines)
    assert first_difference(but_for_ties(ours, expected), expected, lines) == ""
    for texts in (*TEXTS, (TEXTS[0], TEXTS[2])):
        given = (texts,) if isinstance(texts, str) else texts
        assert tokenizer.read([texts])[0].ids == theirs(*given)["input_ids"]
    assert {role: token.id for role, token in files.specials.items()} == {
        role: getattr(theirs, f"{role}_token_id") for role in files.specials
    }
    assert tokenizer.id_of("<mask>") == theirs.mask_token_id == 1500 + offset


@pytest.mark.slow
@pytest.mark.parametrize("said", [{}, {"do_lower_case": False, "keep_accents": True}], ids=["lower", "as-is"])
def test_albert(said: dict[str, Any], tmp_path: Path) -> None:
    """What the original does before and after SentencePiece is written here by hand."""
    content, lines = model("unigram", ALBERT_IDS), comparable(written_lines(10_000))
    folder = folder_of(
        tmp_path / "m", spiece__model=content, config__json={"model_type": "albert"}, tokenizer_config__json=said
    )
    files = found(folder)
    tokenizer = opened(files, tmp_path)
    original = sentencepiece.SentencePieceProcessor(model_proto=content)

    def prepared(text: str) -> str:
        text = " ".join(text.strip().split()).replace("``", '"').replace("''", '"')
        if said.get("keep_accents"):
            return text
        text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
        return text.lower()

    # The tokenizers library, and with it transformers, drops marks of combining class 0 too: Devanagari's vowels.
    vowels = {chr(code) for code in range(0x10FFFF) if unicodedata.category(chr(code)) in ("Mc", "Mn", "Me")}
    plain = tuple(line for line in lines if not re.search(r"\d,", line) and not vowels & set(line))
    theirs = original.encode([prepared(line) for line in plain])
    assert first_difference(but_for_ties(tokenizer.encode_all(plain), theirs), theirs, plain) == ""
    commas = [tokenizer.token_of(number) for line in lines for number in tokenizer.encode(line)]
    assert not [token for token in commas if re.search(r"\d,$", token)]
    ids = tokenizer.read(["one", ("one", "two")])
    reference = transformers.AlbertTokenizer.from_pretrained(folder)
    assert ids[0].ids == reference("one")["input_ids"]
    assert (ids[1].ids, ids[1].type_ids) == tuple(
        reference("one", "two", return_token_type_ids=True)[name] for name in ("input_ids", "token_type_ids")
    )


def test_gemma_has_no_prefix_and_begins_with_bos(tmp_path: Path) -> None:
    content = model(
        "bpe", {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"},
        byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name="identity",
        user_defined_symbols=["▁▁", "▁▁▁", "<start_of_turn>"],
    )  # fmt: skip
    lines = written_lines(1000)
    files = found(folder_of(tmp_path / "m", tokenizer__model=content, config__json={"model_type": "gemma2"}))
    tokenizer = opened(files, tmp_path)
    assert first_difference(tokenizer.encode_all(lines), ids_of(content, lines), lines) == ""
    assert tokenizer.read(["a  b"])[0].ids == [2, *ids_of(content, ("a  b",))[0]]


def test_what_the_folder_says_is_added(tmp_path: Path) -> None:
    content = model("bpe", {"unk_id": 0, "bos_id": 1, "eos_id": 2}, byte_fallback=True)
    body = ids_of(content, ("a b",))[0]
    for number, (said, ids) in enumerate((
        ({}, [1, *body]), ({"add_bos_token": False}, body), ({"add_eos_token": True}, [1, *body, 2]),
    )):  # fmt: skip
        config = {"tokenizer_class": "LlamaTokenizer", "pad_token": "[PAD]", **said}
        folder = folder_of(tmp_path / str(number), tokenizer__model=content, tokenizer_config__json=config)
        files = found(folder)
        assert opened(files, tmp_path).read(["a b"])[0].ids == ids
        assert files.specials["pad"].id == 1500
