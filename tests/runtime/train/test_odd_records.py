"""Records that are not as they should be: a code, the place and the column; never a traceback, nothing unnoticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer as Inner

from flexit.errors import RunConfigError, UserError
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec
from flexit.ir.program import Program
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.files import find_documents
from flexit.runtime.train.data.sources.datasets import Datasets
from flexit.runtime.train.data.sources.jsonl import Jsonl
from flexit.runtime.train.data.sources.parquet import Parquet
from flexit.runtime.train.data.sources.text import Text
from flexit.runtime.train.data.tokenizers.bpe import Bpe
from flexit.runtime.train.data.tokenizers.characters import Characters
from flexit.runtime.train.data.tokenizers.wordpiece import WordPiece
from flexit.runtime.train.data.tokenizers.words import Words
from flexit.runtime.train.read import parse_config
from flexit.runtime.train.run import make_plan, prepare
from flexit.runtime.train.task import Setting
from flexit.runtime.train.tasks.regression import Regression
from flexit.runtime.train.tasks.sequence_classification import SequenceClassification
from flexit.runtime.train.tasks.token_classification import TokenClassification

TEXTS = ["the film was good", "a bad plot"]


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_spec(load_spec("tiny-bert-classifier", sets=["blocks.embed.vocab_size=80"]))


def setting(program: Program, *, seq_len: int = 16, columns: dict[str, str] | None = None) -> Setting:
    tokenizer = WordPiece(vocab_size=60).make(lambda: TEXTS, Path(), rows=60)
    return Setting(program, {"tokenizer.json": tokenizer}, seq_len, columns or {}, ["x", "y"])


def refused(code: str, *words: str):
    return pytest.raises(UserError, match=f"(?s){code}.*" + ".*".join(words))


def test_a_column_of_second_texts_that_is_named_must_be_there(program: Program):
    task, record = SequenceClassification(), {"text": "a film", "label": "x", "other": "a plot"}
    alone = task.encode(record, setting(program), "here")
    pair = task.encode(record, setting(program, columns={"text_pair": "other"}), "here")
    assert len(pair["ids"]) > len(alone["ids"])
    with refused("FX1610", "here has no column othr", "columns: {text_pair: other}"):
        task.encode(record, setting(program, columns={"text_pair": "othr"}), "here")


@pytest.mark.parametrize(
    ("record", "cure"),
    [
        ({"text": "a film"}, "mend the record, or name the column that has it: columns: {label: NAME} under data"),
        ({"text": "a film", " label": "x"}, 'write columns: {label: " label"} under data'),
        ({"text;label": "a film;x"}, 'write delimiter: ";" beside files'),
    ],
)
def test_a_column_that_is_missing_is_not_taken_from_another_one(program: Program, record: Any, cure: str):
    with pytest.raises(UserError) as caught:
        SequenceClassification()._label(record, setting(program), "here")  # pyright: ignore[reportPrivateUsage]
    assert caught.value.code == "FX1610" and caught.value.problems[0].cure == cure


def test_a_class_without_a_name_is_told_and_not_found(program: Program):
    """An empty cell of CSV is a label that is missing; only ``labels`` may say that it is a class."""
    task, record = SequenceClassification(), {"text": "a film", "label": ""}
    with refused("FX1610", "column label", "the name of a class; found an empty text"):
        list(task.names(record, setting(program), "here"))
    with_it = replace(setting(program), labels=["", "x"])
    assert task.encode(record, with_it, "here")["labels"].tolist() == [0]


def test_no_record_is_no_matter_of_classes(tmp_path: Path):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "run.yaml").write_text(f"""
flexit: 1
model: tiny-bert-classifier
set: [blocks.embed.vocab_size=260]
task: sequence_classification
data: {{train: {{kind: jsonl, files: [empty.jsonl]}}, seq_len: 16, tokenizer: bytes}}
steps: 2
out: {tmp_path / "out"}
""")
    with refused("FX1603", "there are no records"):
        prepare(make_plan(tmp_path / "run.yaml"))


def test_null_is_no_second_text(program: Program):
    task, record = SequenceClassification(), {"text": "a film", "label": "x"}
    alone = task.encode(record, setting(program), "here")
    for columns in ({}, {"text_pair": "other"}):
        name = columns.get("text_pair", "text_pair")
        found = task.encode({**record, name: None}, setting(program, columns=columns), "here")
        assert found["ids"].tolist() == alone["ids"].tolist()
    with refused("FX1610", "text_pair", "a text; found 3"):
        task.encode({**record, "text_pair": 3}, setting(program), "here")


@pytest.mark.parametrize(("seq_len", "pair", "needed"), [(2, None, 3), (4, "a plot", 5)])
def test_rows_without_room_beside_what_the_tokenizer_adds(
    program: Program, seq_len: int, pair: str | None, needed: int
):  # fmt: skip
    record = {"text": "a film", "text_pair": pair, "label": "x"}
    with refused("FX1510", "data.seq_len", f"at least {needed}; found {seq_len}"):
        SequenceClassification().encode(record, setting(program, seq_len=seq_len), "here")
    row = SequenceClassification().encode(record, setting(program, seq_len=needed), "here")
    assert len(row["ids"]) == needed
    with refused("FX1510", "data.seq_len"):
        TokenClassification().encode({"tokens": ["a"], "labels": ["x"]}, setting(program, seq_len=2), "here")


def test_token_types_beyond_the_table(program: Program):
    content = json.loads(setting(program).tokenizer.dumps())
    for part in content["post_processor"]["pair"][-2:]:
        next(iter(part.values()))["type_id"] = 2
    other = Tokenizer(Inner.from_str(json.dumps(content)))
    there = Setting(program, {"tokenizer.json": other}, 16, {}, ["x"])
    SequenceClassification().encode({"text": "a film", "label": "x"}, there, "here")
    with refused("FX1610", "here", "token types below 2", "found 2"):
        SequenceClassification().encode({"text": "a film", "text_pair": "a plot", "label": "x"}, there, "here")


@pytest.mark.parametrize(
    ("task", "record"),
    [
        (SequenceClassification(), {"text": "a \ud800 film", "label": "x"}),
        (SequenceClassification(), {"text": "a film", "label": "\udfff"}),
        (TokenClassification(), {"tokens": ["\ud800"], "labels": ["x"]}),
    ],
)
def test_half_of_a_surrogate_pair(program: Program, tmp_path: Path, task: Any, record: dict[str, Any]):
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    ((values, place, _),) = Jsonl(files=["a.jsonl"]).open(tmp_path)
    with refused("FX1610", "a.jsonl:1", "characters of Unicode"):
        task.encode(values, setting(program), place)
    with refused("FX1610", "a.jsonl:1"):
        list(task.texts(values, setting(program), place, file="tokenizer.json"))
        list(task.names(values, setting(program), place))


@pytest.mark.parametrize("label", [1e39, -1e39, 10**400, float("nan"), "inf", True, "much"])
def test_labels_beyond_fp32(label: Any):
    program = compile_spec(load_spec("tiny-bert-classifier"))
    with refused("FX1610", "column label", "a number up to 3.4e"):
        Regression().encode({"text": "a", "label": label}, setting(program), "here")
    assert Regression().encode({"text": "a", "label": "3e38"}, setting(program), "here")["labels"] == np.float32(3e38)


def test_parquet_whose_text_is_none(tmp_path: Path):
    raw = pyarrow.array([b"ok", b"fine", b"a\xffb"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": raw}), tmp_path / "a.parquet", row_group_size=2)
    read: list[Any] = []
    with refused("FX1602", "a.parquet, row 3", "byte 0xff at offset 1"):
        read.extend(values["text"] for values, _, _ in Parquet(files=["a.parquet"]).open(tmp_path))


def test_a_mark_of_the_byte_order_is_no_text(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfwords")
    ((values, _, _),) = Text(files=["a.txt"]).open(tmp_path)
    assert values == {"text": "words"}


def test_a_dataset_that_was_mapped_is_the_same(tmp_path: Path):
    datasets.Dataset.from_list([{"text": each} for each in TEXTS]).save_to_disk(str(tmp_path / "d"))
    before = Datasets(path="d").open(tmp_path).fingerprint
    datasets.load_from_disk(str(tmp_path / "d")).map(lambda row: {"n": len(row["text"])})
    assert list((tmp_path / "d").glob("cache-*"))
    assert Datasets(path="d").open(tmp_path).fingerprint == before
    datasets.Dataset.from_list([{"text": each} for each in TEXTS[::-1]]).save_to_disk(str(tmp_path / "e"))
    assert Datasets(path="e").open(tmp_path).fingerprint != before


def test_files_of_no_name_say_where_they_were_asked_for(tmp_path: Path):
    with pytest.raises(UserError) as caught:
        find_documents(["*.txt"], tmp_path)
    assert caught.value.problems[0].path == "files"


# ---- special tokens that are text


GOOD = """
flexit: 1
model: demo-decoder
task: causal_lm
data: {train: {kind: text, files: [a]}, seq_len: 8, tokenizer: TOKENIZER}
steps: 1
out: x
"""


@pytest.mark.parametrize(
    ("tokenizer", "field"),
    [
        ("{kind: bpe, specials: [the]}", r"specials\[0\]"),
        ("{kind: unigram, specials: ['<mask>', ab]}", r"specials\[1\]"),
        ("{kind: bytes, specials: ['']}", r"specials\[0\]"),
        ('{kind: characters, separator: "\\n"}', "separator"),
        ('{kind: characters, specials: ["日"]}', r"specials\[0\]"),
    ],
)
def test_special_tokens_that_a_text_may_become(tokenizer: str, field: str):
    with pytest.raises(RunConfigError, match=f"FX1606 data.tokenizer.{field}: the text itself may become"):
        parse_config(GOOD.replace("TOKENIZER", tokenizer))


def test_the_tokenizer_of_targets_is_looked_at_too():
    task = "{kind: seq2seq, target_tokenizer: {kind: bpe, separator: the}}"
    with pytest.raises(RunConfigError, match=r"FX1606 task.target_tokenizer.separator"):
        parse_config(GOOD.replace("task: causal_lm", f"task: {task}").replace("TOKENIZER", "bpe"))


def test_words_that_are_special_tokens():
    with refused("FX1606", "none of the words of the texts; found <end>"):
        Words(separator="<end>").make(lambda: ["a b", "c <end> d"], Path(), rows=100)
    with refused("FX1606", "<mask>"):
        Words().make(lambda: ["a <mask>"], Path(), rows=100, more=["<mask>"])
    made = Words().make(lambda: ["a <unk> b"], Path(), rows=100)
    assert made.encode("a <unk> z")[1:] == [made.id_of("<unk>")] * 2


def test_tokenizers_whose_tokens_are_none_of_the_text():
    for kind in (Bpe(specials=["<mask>"]), Characters(specials=["<mask>"])):
        made = kind.make(lambda: ["<mask> a"], Path(), rows=300)
        assert made.id_of("<mask>") not in made.encode("<mask> a")
