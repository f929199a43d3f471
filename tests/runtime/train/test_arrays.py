"""Token ids in files: mapped from where they are, refused with file and place, and the same as from their texts."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexit.errors import RunConfigError, UserError
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.data.arrays import Mapped
from flexit.runtime.train.data.sources.arrays import Arrays
from flexit.runtime.train.data.token_files import TokenFiles
from flexit.runtime.train.read import parse_config
from flexit.runtime.train.run import make_plan, prepare, train

IDS = np.asarray([5, 6, 0, 7, 0, 8, 9, 10, 0, 11], np.uint16)


def opened(folder: Path, **fields: Any) -> TokenFiles:
    return Arrays(**{"files": ["*.bin"], **fields}).open(folder)


def documents(folder: Path, limit: int = 100, **fields: Any) -> list[list[int]]:
    found = opened(folder, **fields)
    starts = [index.starts for index, _ in found.index(limit)]
    (folder / "starts").write_bytes(np.concatenate([*starts, [found.size]]).astype(np.int64).tobytes())
    mapped = pickle.loads(pickle.dumps(Mapped(found.files, folder / "starts")))
    return [mapped.row(number).tolist() for number in range(len(mapped.lengths))]


# ---- files


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32", "int64", "uint64", "uint8"])
def test_bare_numbers_of_every_width(tmp_path: Path, dtype: str):
    IDS.astype(dtype).tofile(tmp_path / "a.bin")
    assert documents(tmp_path, dtype=dtype) == [IDS.tolist()]
    assert documents(tmp_path, dtype=dtype, separator=0) == [[5, 6, 0], [7, 0], [8, 9, 10, 0], [11]]


def test_numpys_format_says_its_own_type(tmp_path: Path):
    np.save(tmp_path / "a.npy", IDS.astype(">i4"))
    assert documents(tmp_path, files=["a.npy"], separator=0)[1:] == [[7, 0], [8, 9, 10, 0], [11]]
    np.save(tmp_path / "b.npy", IDS.reshape(2, 5))
    assert documents(tmp_path, files=["b.npy"]) == [[5, 6, 0, 7, 0], [8, 9, 10, 0, 11]]


def test_bare_numbers_that_are_called_npy_as_those_of_olmo(tmp_path: Path):
    IDS.tofile(tmp_path / "a.npy")
    assert documents(tmp_path, files=["a.npy"], dtype="uint16") == [IDS.tolist()]
    with pytest.raises(UserError, match=r"FX1607 dtype: .*a.npy does not say what its numbers are"):
        opened(tmp_path, files=["a.npy"])


def test_offsets_say_where_documents_begin(tmp_path: Path):
    IDS.tofile(tmp_path / "a.bin")
    np.save(tmp_path / "a.offsets.npy", np.asarray([0, 4, 4, 10]))
    assert documents(tmp_path, files=["a.*"], dtype="uint16", offsets=".offsets.npy") == [
        [5, 6, 0, 7],
        IDS[4:].tolist(),
    ]


def test_equal_documents_have_one_hash_whatever_their_width(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr("flexit.runtime.train.data.token_files.PIECE", 3)  # so that documents lie across pieces
    IDS.tofile(tmp_path / "a.bin")
    np.save(tmp_path / "b.npy", np.asarray([8, 9, 10, 0, 12], np.int64))
    hashes: dict[str, list[int]] = {}
    for name, more in (("a.bin", {"dtype": "uint16"}), ("b.npy", {})):
        for index, _ in opened(tmp_path, files=[name], separator=0, **more).index(100):
            hashes[name] = index.hashes.tolist()
    assert hashes["a.bin"][2] == hashes["b.npy"][0]
    assert len({*hashes["a.bin"], *hashes["b.npy"]}) == 5


def test_places_across_files(tmp_path: Path):
    parts = [np.arange(start, start + 40, dtype=np.uint16) for start in (0, 40, 80)]
    for number, part in enumerate(parts):
        part.tofile(tmp_path / f"{number}.bin")
    assert sorted(documents(tmp_path, limit=200, dtype="uint16")) == [part.tolist() for part in parts]
    found = opened(tmp_path, dtype="uint16")
    mapped = Mapped(found.files, tmp_path / "starts")
    whole = np.concatenate([file.values for file in found.files])
    places = np.random.default_rng(0).integers(0, 120, (7, 9))
    assert np.array_equal(mapped.take(places), whole[places])


def _truncated(file: Path) -> None:
    np.save(file.with_suffix(".npy"), IDS)
    file.write_bytes(file.with_suffix(".npy").read_bytes()[:-3])


def _saved(value: Any):
    def write(file: Path) -> None:
        with file.open("wb") as stream:
            np.save(stream, value, allow_pickle=True)

    return write


DAMAGED = {
    "truncated": (_truncated, {}, "FX1607", "148 bytes, as its header says; found 145"),
    "header": (lambda file: file.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr"), {}, "FX1607", "a whole header"),
    "objects": (_saved(np.asarray([{}, {}])), {}, "FX1607", "whole numbers; found numbers of type object"),
    "floats": (_saved(np.ones(3)), {}, "FX1607", "whole numbers; found numbers of type float64"),
    "axes": (_saved(np.ones((2, 2, 2), np.uint16)), {}, "FX1607", "one axis"),
    "fortran": (_saved(np.asfortranarray(np.ones((2, 3), np.uint16))), {}, "FX1607", "in the order of Fortran"),
    "other": (_saved(IDS), {"dtype": "uint32"}, "FX1607", "uint32, as dtype says; found uint16"),
    "odd": (lambda file: file.write_bytes(b"abc"), {"dtype": "uint16"}, "FX1607", "of 2 bytes; found 3 bytes"),
    "half": (
        lambda file: np.arange(1, 99, dtype=np.uint32).tofile(file), {"dtype": "uint16"}, "FX1607",
        "every second one is 0",
    ),
    "llm.c": (
        lambda file: file.write_bytes((20240520).to_bytes(4, "little") + bytes(1020) + IDS.tobytes()),
        {"dtype": "uint16"}, "FX1607", "write skip: 1024",
    ),
    "lit-gpt": (lambda file: file.write_bytes(b"LITPKDS" + bytes(33)), {"dtype": "uint16"}, "FX1607", "write skip: 24"),
    "short": (lambda file: file.write_bytes(b"ab"), {"dtype": "uint16", "skip": 4}, "FX1607", "after 4; found 2 bytes"),
    "none": (lambda file: None, {"dtype": "uint16"}, "FX1601", "no file matches"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_told_with_its_file(tmp_path: Path, name: str):
    write, fields, code, said = DAMAGED[name]
    write(tmp_path / "a.bin")
    with pytest.raises(UserError, match=f"(?s){code}.*{said}") as caught:
        opened(tmp_path, **fields)
    assert name == "none" or str(tmp_path / "a.bin") in caught.value.problems[0].message


def test_bytes_in_front_are_skipped(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes((20240520).to_bytes(4, "little") + bytes(1020) + IDS.tobytes())
    assert documents(tmp_path, dtype="uint16", skip=1024) == [IDS.tolist()]


def test_a_file_without_numbers_has_no_documents(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(IDS.tobytes())
    (tmp_path / "b.bin").touch()
    assert documents(tmp_path, dtype="uint16") == [IDS.tolist()]
    (tmp_path / "a.bin").write_bytes(b"")
    assert documents(tmp_path, dtype="uint16") == []


@pytest.mark.parametrize(("ids", "at", "found"), [([1, 2, 50, 3], 2, 50), ([1, -1], 1, -1)])
def test_an_id_beyond_the_vocabulary(tmp_path: Path, ids: list[int], at: int, found: int):
    np.asarray(ids, np.int32).tofile(tmp_path / "a.bin")
    with pytest.raises(UserError, match=f"FX1611 files: .*a.bin: the token {at} .*\n.*0 to 49, .*found {found}"):
        documents(tmp_path, limit=50, dtype="int32")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.asarray([0, 5]), "found 0 up to 5"),
        (np.asarray([1, 10]), "found 1 up to 10"),
        (np.asarray([0, 7, 3, 10]), "not rising"),
        (np.asarray([0.0, 10.0]), "found float64"),
        (np.asarray([{}, {}]), "integers in NumPy's format"),
    ],
)
def test_offsets_that_are_damaged(tmp_path: Path, value: Any, said: str):
    IDS.tofile(tmp_path / "a.bin")
    _saved(value)(tmp_path / "a.offsets.npy")
    with pytest.raises(UserError, match=f"(?s)FX1607.*a.offsets.npy.*{said}"):
        documents(tmp_path, dtype="uint16", offsets=".offsets.npy")
    (tmp_path / "a.offsets.npy").unlink()
    with pytest.raises(UserError, match=r"FX1601 offsets: there is no .*a.offsets.npy"):
        opened(tmp_path, dtype="uint16", offsets=".offsets.npy")


# ---- run configs


def config(data: str, task: str = "causal_lm", more: str = "") -> str:
    return (
        f"flexit: 1\nmodel: tiny-llama\ntask: {task}\ndata: {data}\nsteps: 3\nthreads: 1\ndevice: cpu\nout: run\n{more}"
    )


BIN = "train: {kind: arrays, files: [a.bin], dtype: uint16, separator: 0}, seq_len: 8"
WRONG = [
    (config(f"{{{BIN}, tokenizer: bpe}}"), "FX1510 data.tokenizer"),
    (config(f"{{{BIN}}}", "masked_lm"), "FX0202 data.tokenizer"),
    (config(f"{{{BIN}, columns: {{text: body}}}}"), "FX1510 data.columns"),
    (config(f"{{{BIN}, tokenizer: {{kind: file, path: x}}}}", "regression"), "FX1510 data.train: regression reads"),
    (config("{train: {kind: text, files: [a]}, seq_len: 8}"), "FX0202 data.tokenizer"),
    (config(f"{{{BIN.replace('separator: 0', 'separator: 0, offsets: .npy')}}}"), "FX1510 data.train.offsets"),
    (config(f"{{{BIN}}}", more="sample: {every: 2, prompts: [a]}\n"), "FX1532 sample: there is no tokenizer"),
    (
        config(f"{{{BIN}, validation: {{split: 0.2}}}}", more="evaluate: {every: 2, metrics: [bits_per_byte]}\n"),
        "FX1530",
    ),
]


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_does_not_go_with_arrays(text: str, said: str):
    with pytest.raises(RunConfigError, match=said.replace(".", r"\.")):
        parse_config(text)


@pytest.fixture
def texts(tmp_path: Path) -> Tokenizer:
    """Text files, their tokenizer, and their ids as nanoGPT's preparation writes them, in files of another order."""
    words = [" ".join(f"w{(i * k) % 23}" for i in range(30)) for k in range(1, 9)]
    tokenizer = Tokenizer.train(words, vocab_size=290)
    (tmp_path / "tokenizer.json").write_text(tokenizer.dumps())
    for number, text in enumerate(words):
        (tmp_path / f"{number}.txt").write_text(text)
    ids = [[*tokenizer.encode(text), 0] for text in words]
    for number, part in enumerate((ids[4:], ids[:4])):
        np.asarray([each for some in part for each in some], np.uint16).tofile(tmp_path / f"{number}.bin")
    return tokenizer


SETS = 'set: ["blocks.embed.vocab_size=300"]\nevaluate: {every: 3}\nbatch: {size: 2}\n'
FILE = "tokenizer: {kind: file, path: tokenizer.json, separator: <|endoftext|>}"
MAPPED = "train: {kind: arrays, files: ['*.bin'], dtype: uint16, separator: 0}"
TEXT = "train: {kind: text, files: ['*.txt']}"


def written(folder: Path, data: str, out: str = "run", more: str = "") -> Path:
    path = folder / f"{out}.yaml"
    said = config(f"{{{data}, validation: {{split: 0.2}}, seq_len: 16}}", more=SETS + more)
    path.write_text(said.replace("out: run", f"out: {out}"))
    return path


def test_the_same_tokens_as_from_the_texts_and_none_copied(tmp_path: Path, texts: Tokenizer):
    del texts
    rows: dict[str, list[Any]] = {}
    for out, data in (("text", TEXT), ("mapped", MAPPED)):
        plan = make_plan(written(tmp_path, f"{data}, {FILE}", out))
        material = prepare(plan)
        both = material.examples(plan.out)
        rows[out] = [each.batch(np.arange(len(each)), (0,))["input_ids"].tolist() for each in both if each is not None]
    counts = [[np.bincount(np.ravel(side), minlength=300) for side in each] for each in rows.values()]
    assert [len(side) for side in rows["text"]] == [len(side) for side in rows["mapped"]]
    assert all(
        np.abs(one - other).sum() <= 40 for one, other in zip(*counts, strict=True)
    )  # what a last row leaves out
    there = {path.name for path in (tmp_path / "mapped" / "data").iterdir()}
    assert there == {"data.json", "hashes.bin", "ids.starts", "tokenizer.json"}


def test_a_run_without_a_tokenizer_and_one_that_goes_on(tmp_path: Path, texts: Tokenizer):
    del texts
    path = written(tmp_path, MAPPED)
    result = train(path, progress=False)
    assert result.checkpoint is not None
    assert not (result.checkpoint / "tokenizer.json").exists()
    assert '"eos_token_id": 0' in (result.checkpoint / "generation_config.json").read_text()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "validation_perplexity" in lines
    assert "bits_per_byte" not in lines
    (tmp_path / "0.bin").rename(tmp_path / "elsewhere.bin")  # names do not matter
    assert train(path, progress=False).step == 3
    changed = np.fromfile(tmp_path / "elsewhere.bin", np.uint16)
    changed[3] += 1
    changed.tofile(tmp_path / "elsewhere.bin")
    with pytest.raises(UserError, match=r"FX1202.*the data files changed"):
        train(path, progress=False, sets=["steps=4"])
    changed[3] = 300
    changed.tofile(tmp_path / "elsewhere.bin")
    with pytest.raises(UserError, match=r"FX1611 data.train.files: .*elsewhere.bin: the token 3 "):
        train(path, progress=False, sets=["out=other"])


def test_a_checkpoint_has_the_tokenizer_that_is_named(tmp_path: Path, texts: Tokenizer):
    result = train(written(tmp_path, f"{MAPPED}, {FILE}"), progress=False)
    assert result.checkpoint is not None
    assert (result.checkpoint / "tokenizer.json").read_text() == texts.dumps()
    assert "bits_per_byte" in (tmp_path / "run" / "metrics.jsonl").read_text()
    other = FILE.replace("<|endoftext|>", "w")
    with pytest.raises(UserError, match=r"FX1510 data.tokenizer.separator: documents would end by two tokens"):
        train(written(tmp_path, f"{MAPPED}, {other}", "other"), progress=False)
