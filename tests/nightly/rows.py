"""The rows of the covering arrays, each the whole way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from flexit.ir.spec import Spec
from tests.fuzz.sample import check
from tests.nightly.covering import Covering, Row, legal
from tests.nightly.frames import FRAMES, Frame
from tests.nightly.journal import Journal, Line
from tests.nightly.knobs import settings
from tests.nightly.specs import taken


def run(journal: Journal, seed: int, *, go_on: Callable[[], bool]) -> None:
    """Rows of every array, until ``go_on`` says no; ``<frame> complete`` says how many pairs there were."""
    for frame in FRAMES:
        array = Covering(frame, seed)
        pairs = len(array.left)
        known = [line for line in journal.results.values() if line.get("frame") == frame.name and "row" in line]
        for line in known:
            array.covered(tuple(line["row"]))
            for pair in line["refused"]:
                array.left.pop(tuple(pair), None)
        if f"{frame.name} complete" in journal.results:
            continue
        for number, row, refused in numbered(array, len(known), go_on):
            one(journal, frame, row, key=f"{frame.name} {number}", refused=refused)
        if not array.left:
            journal.add(f"{frame.name} complete", pairs=pairs)


def run_again(journal: Journal) -> None:
    """The rows that were faults in earlier sources."""
    frames = {frame.name: frame for frame in FRAMES}
    for line in journal.again:
        one(journal, frames[line["frame"]], tuple(line["row"]), key=line["key"], refused=line["refused"])


def numbered(array: Covering, start: int, go_on: Callable[[], bool]) -> Iterator[tuple[int, Row, list[list[int]]]]:
    """Rows with their numbers, and the pairs found to be refused on the way to each."""
    known: set[tuple[int, int]] = set()
    rows = array.rows()
    while go_on():
        row = next(rows, None)
        if row is None:
            return
        refused = [list(pair) for pair in sorted(array.refused - known)]
        known |= array.refused
        yield start, row, refused
        start += 1


def one(journal: Journal, frame: Frame, row: Row, *, key: str, refused: list[list[int]]) -> Line:
    """The result of a row."""
    began = time.perf_counter()
    data = legal(frame, row)
    assert data is not None
    outcome, why = "crash", "the process ended, twice"
    if journal.begin(key):
        spec = check(data).spec
        assert isinstance(spec, Spec)
        outcome, why = taken(spec)
    seconds = round(time.perf_counter() - began, 2)
    named = [str(settings(frame)[index]) for index in row]
    told = {"frame": frame.name, "row": list(row), "settings": named, "refused": refused}
    return journal.add(key, **told, outcome=outcome, why=why, seconds=seconds)
