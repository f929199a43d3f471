"""Each source gives the same records, whatever file they were in; what is damaged is told with its place."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from flexit.errors import UserError
from flexit.runtime.train.data.source import Source
from flexit.runtime.train.data.sources.csv import Csv
from flexit.runtime.train.data.sources.datasets import Datasets
from flexit.runtime.train.data.sources.jsonl import Jsonl
from flexit.runtime.train.data.sources.parquet import Parquet
from flexit.runtime.train.data.sources.text import Text

RECORDS = [
    {"text": 'a "quoted", text\nof two lines', "label": "x"},
    {"text": "größer \u2028 日本", "label": "y"},
    {"text": "", "label": "x"},
]


def write_jsonl(file: Path) -> None:
    file.write_text("\n\n".join(json.dumps(each, ensure_ascii=False) for each in RECORDS), encoding="utf-8")


def write_csv(file: Path) -> None:
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, ["text", "label"])
        writer.writeheader()
        writer.writerows(RECORDS)


def write_parquet(file: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), file, row_group_size=2)


def write_dataset(folder: Path) -> None:
    datasets.Dataset.from_list(RECORDS).save_to_disk(str(folder))


WAYS = {
    "a.jsonl": (write_jsonl, Jsonl(files=["a.jsonl"])),
    "a.csv": (write_csv, Csv(files=["a.*"])),
    "a.parquet": (write_parquet, Parquet(files=["a.parquet"])),
    "folder": (write_dataset, Datasets(path="folder")),
}


def found(source: Source, base: Path) -> list[dict[str, object]]:
    return [dict(values) for values, _, _ in source.open(base)]


@pytest.mark.parametrize("name", WAYS)
def test_the_records_are_those_that_were_written(tmp_path: Path, name: str):
    write, source = WAYS[name]
    write(tmp_path / name)
    records = source.open(tmp_path)
    read = list(records)
    assert [dict(values) for values, _, _ in read] == RECORDS
    assert len({place for _, place, _ in read}) == len(RECORDS)
    done = [each.done for each in read]
    assert done == sorted(done)
    assert 0 < done[-1] <= records.size
    assert [dict(values) for values, _, _ in records] == RECORDS  # each time anew
    assert source.open(tmp_path).fingerprint == records.fingerprint


def test_places_are_lines_and_rows(tmp_path: Path):
    write_jsonl(tmp_path / "a.jsonl")
    write_csv(tmp_path / "a.csv")
    assert [place for _, place, _ in Jsonl(files=["a.jsonl"]).open(tmp_path)][1].endswith("a.jsonl:3")
    assert [place for _, place, _ in Csv(files=["a.csv"]).open(tmp_path)][1].endswith("a.csv:4")


def test_other_contents_have_another_fingerprint(tmp_path: Path):
    write_jsonl(tmp_path / "a.jsonl")
    before = Jsonl(files=["*.jsonl"]).open(tmp_path).fingerprint
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    assert Jsonl(files=["*.jsonl"]).open(tmp_path).fingerprint == before
    with (tmp_path / "b.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"text": "more"}')
    assert Jsonl(files=["*.jsonl"]).open(tmp_path).fingerprint != before


def test_a_delimiter(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("text\tlabel\na, b\tx\n")
    assert found(Csv(files=["a.tsv"], delimiter="\t"), tmp_path) == [{"text": "a, b", "label": "x"}]


def test_a_split_of_a_dataset(tmp_path: Path):
    parts = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "d"))
    assert found(Datasets(path="d", split="test"), tmp_path) == [{"text": "test"}]
    with pytest.raises(UserError, match=r"one of (test, train|train, test)") as caught:
        Datasets(path="d").open(tmp_path)
    assert caught.value.code == "FX1601"
    with pytest.raises(UserError, match="no such split"):
        Datasets(path="d", split="validation").open(tmp_path)


DAMAGED = [
    (Jsonl(files=["a"]), b'{"text": "x"}\n{"text": \n', "FX1607", "a:2"),
    (Jsonl(files=["a"]), b"[1]\n", "FX1607", "a:1"),
    (Jsonl(files=["a"]), b'{"text": "\xff"}\n', "FX1602", "a:1"),
    (Jsonl(files=["a"]), b"[" * 100_000, "FX1607", "a:1"),
    (Csv(files=["a"]), b"text,label\na\n", "FX1607", "a:2"),
    (Csv(files=["a"]), b"text,text\na,b\n", "FX1607", "a"),
    (Csv(files=["a"]), b"", "FX1607", "a"),
    (Csv(files=["a"]), b'text,label\n"a"b,c\n', "FX1607", "a:2"),
    (Csv(files=["a"]), b"text\n\xff\n", "FX1602", "a:2"),
    (Parquet(files=["a"]), b"PAR1 and no more", "FX1607", "a"),
    (Parquet(files=["a"]), b"", "FX1607", "a"),
    (Text(files=["a"]), b"abc\xff", "FX1602", "a"),
    (Datasets(path="a"), b"a file", "FX1601", "a"),
]


@pytest.mark.parametrize(("source", "content", "code", "place"), DAMAGED)
def test_what_is_damaged_is_told_with_its_place(
    tmp_path: Path, source: Source, content: bytes, code: str, place: str
):  # fmt: skip
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(source.open(tmp_path))
    assert caught.value.code == code
    assert str(tmp_path / place) in caught.value.problems[0].message


def test_a_damaged_file_of_a_dataset(tmp_path: Path):
    write_dataset(tmp_path / "d")
    (file,) = (tmp_path / "d").glob("*.arrow")
    file.write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read as data"):
        Datasets(path="d").open(tmp_path)


@pytest.mark.parametrize(("source", "name"), [(Parquet(files=["a"]), "pyarrow"), (Datasets(path="a"), "datasets")])
def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source, name: str):
    for module in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(UserError, match=f"{name} is not installed") as caught:
        source.open(tmp_path)
    assert caught.value.code == "FX1608"
    assert f"pip install {name}" in caught.value.problems[0].cure
