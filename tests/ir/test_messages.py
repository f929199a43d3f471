"""One golden text per rule, so that a change of wording or place is seen and meant."""

from pathlib import Path

import pytest

from flexit.ir.diagnostics import TITLES
from flexit.ir.io.load import check_text

CASES = sorted((Path(__file__).parent / "messages").glob("*.yaml"))
ELSEWHERE = {"FX0100", "FX0512", "FX0801"}
"""No file (tested with the loader), and what only a run or a task shows."""


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_message(path, golden):
    checked = check_text(path.read_bytes(), path.name)
    text = "\n".join(map(str, checked.problems)) + "\n"
    golden(path.with_suffix(".txt"), text)
    code = path.stem.partition("-")[0]
    if code in TITLES:
        assert code in {problem.code for problem in checked.problems}
    assert all(problem.warning for problem in checked.problems) == checked.valid


def test_every_rule_has_a_case():
    assert {path.stem.partition("-")[0] for path in CASES} >= set(TITLES) - ELSEWHERE


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_problem_has_five_parts_and_a_place(path):
    for problem in check_text(path.read_bytes(), path.name).problems:
        assert problem.message and problem.expected and problem.found and problem.cure
        assert problem.file == path.name and problem.line and problem.column
        assert all(char.isprintable() or char == "\n" for char in str(problem))
        assert len(str(problem).splitlines()) == 3
