"""Files that are read whole are regular ones: nothing is waited for, and nothing has no end."""

import os
from pathlib import Path

import pytest

from flexit.cli.evaluating import _text
from flexit.errors import UserError
from flexit.files.regular import read_regular
from flexit.runtime.tasks.records import read_records


@pytest.fixture(params=["pipe", "device", "folder"])
def other(request, tmp_path, monkeypatch):
    """Something that is no regular file, and what it is called."""
    monkeypatch.chdir(tmp_path)
    if request.param == "pipe":
        os.mkfifo("x")
    elif request.param == "device":
        Path("x").symlink_to("/dev/zero")
    else:
        Path("x").mkdir()
    return request.param


@pytest.mark.parametrize("read", [lambda path: read_regular(path, expected="a text file"), _text, read_records])
def test_what_is_no_file_is_refused_at_once(other, read):
    with pytest.raises(UserError, match="FX2103 x") as told:
        read("x")
    assert told.value.problems[0].found == f"a {other}"


def test_a_file_is_read_through_a_link(tmp_path):
    (tmp_path / "a").write_bytes(b"one\r\ntwo")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert read_regular(tmp_path / "b", expected="a text file") == b"one\r\ntwo"
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "c", expected="a text file")


def test_lines_of_records_end_as_they_did(tmp_path):
    for ending in ("\n", "\r\n", "\r"):
        (tmp_path / "x.csv").write_text(f'text,label{ending}"a{ending}b",c{ending}', newline="")
        assert read_records(tmp_path / "x.csv")[0].values["text"] == "a\nb"
