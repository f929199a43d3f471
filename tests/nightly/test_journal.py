"""Results outlive a kill; the covering array of all legal pairs is complete; the page says what was found."""

import json
from dataclasses import replace

import pytest

from tests.nightly import journal as journal_module
from tests.nightly import page, rows, specs
from tests.nightly.covering import Covering, legal
from tests.nightly.frames import ENCODER, ENCODER_DECODER
from tests.nightly.journal import Journal
from tests.nightly.knobs import settings


def test_a_journal_goes_on_after_a_line_that_was_cut_short(tmp_path):
    journal = Journal(tmp_path / "found.jsonl")
    assert journal.begin("1")
    journal.add("1", outcome="proven")
    with journal.path.open("a", encoding="utf-8") as file:
        file.write('{"key":"2","outc')
    again = Journal(journal.path)
    assert list(again.results) == ["1"]
    again.add("2", outcome="refused")
    assert [json.loads(line) for line in journal.path.read_text().splitlines()][-1]["key"] == "2"


def test_what_ends_the_process_twice_is_a_crash(tmp_path):
    for expected in (True, True, False):
        assert Journal(tmp_path / "found.jsonl").begin("7") == expected
    line = specs.one(Journal(tmp_path / "found.jsonl"), "7")
    assert line["outcome"] == "crash"


def test_only_faults_are_run_again_where_the_sources_changed(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "RUNS", tmp_path)
    states = iter(["old"] * 3 + ["new"] * 6)
    monkeypatch.setattr(journal_module, "state", lambda part: next(states))
    before = journal_module.journals(5)
    before["rows"].add("decoder 0", frame="decoder", row=[0], refused=[], outcome="mismatch", why="x")
    before["rows"].add("decoder 1", outcome="proven", why="")
    before["pairs"].add("decoder a", wrong=["a with b"], counts={})
    before["pairs"].add("decoder b", wrong=[], counts={})
    before["specs"].add("1", outcome="disagrees", why="y")
    after = journal_module.journals(5, mended=True)
    assert {part: list(journal.results) for part, journal in after.items()} == {
        "specs": [], "rows": ["decoder 1"], "pairs": ["decoder b"],
    }  # fmt: skip
    assert [line["key"] for line in after["rows"].again] == ["decoder 0"]
    rows.run_again(after["rows"])
    specs.run_again(after["specs"])
    assert after["rows"].results["decoder 0"]["outcome"] == after["specs"].results["1"]["outcome"] == "proven"
    assert list(journal_module.journals(5, mended=True)["rows"].results) == ["decoder 1", "decoder 0"]


@pytest.fixture
def quick(monkeypatch):
    """Models are not run; what is asked is counted."""
    taken = []
    monkeypatch.setattr(specs, "taken", lambda spec: taken.append(spec) or ("proven", ""))
    monkeypatch.setattr(rows, "taken", lambda spec: taken.append(spec) or ("proven", ""))
    return taken


def test_an_interrupted_run_goes_on_to_the_same_results(quick, tmp_path):
    def run(path, steps):
        left = iter(range(steps))
        specs.run(Journal(path), 3, 6, go_on=lambda: next(left, None) is not None)
        found = Journal(path).results.values()
        return [{name: value for name, value in line.items() if name != "seconds"} for line in found]

    whole = run(tmp_path / "whole.jsonl", 100)
    count = len(quick)
    for _ in range(10):
        parts = run(tmp_path / "parts.jsonl", 2)
    assert parts == whole
    assert len(quick) == 2 * count
    assert sum(specs.is_whole(line) for line in whole) == 6


@pytest.mark.slow
def test_every_legal_pair_is_in_a_row():
    opened = (("blocks", "written"), ("blocks", "head"))
    frame = replace(ENCODER_DECODER, name="small", open=opened)
    array = Covering(frame, 1)
    assert len(array.left) >= 100
    found = {(one, two) for row in array.rows() for at, one in enumerate(row) for two in row[at + 1 :]}
    count = len(array.known)
    for one in range(count):
        for two in range(one + 1, count):
            assert (one, two) in found or legal(frame, (one, two)) is None


def test_the_page_says_what_was_found(quick, tmp_path, monkeypatch):
    journals = {name: Journal(tmp_path / f"{name}.jsonl") for name in ("specs", "rows", "pairs")}
    specs.run(journals["specs"], 4, 3, go_on=lambda: True)
    left = iter(range(1))
    rows.run(journals["rows"], 4, go_on=lambda: next(left, None) is not None)
    counts = {"accepted": 7, "refused": 2, "FX0501": 2}
    journals["pairs"].add(f"encoder {settings(ENCODER)[0]}", counts=counts, wrong=["no cure"], seconds=1.0)
    journals["specs"].add("9", outcome="mismatch", why="two\nlines", codes=[], names=[], seconds=1.0)
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    page.write(4, journals)
    text = page.PAGE.read_text()
    assert "seed 4" in text and "| the whole way | 3 |" in text and "| mismatches | 1 |" in text
    assert "* 9: mismatch, two lines" in text
    assert "| 7 | 2 | 0 | 1 | FX0501 2 |" in text and "* no cure" in text
    assert "`Scaling.yarn` | 0 |" in text
