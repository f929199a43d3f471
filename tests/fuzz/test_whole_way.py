"""Thirty accepted documents of the day go the whole way; of these, ten continue text token by token."""

import pytest

from tests.fuzz.day import SOME_DAY, drawn_day
from tests.fuzz.sample import accepted, checked, drawn, shown
from tests.fuzz.whole_way import continues, whole_way

SPAN = 1_000_000
FIRST = drawn_day() * SPAN
EACH = 10
"""Models of a test: there are several, so that they run side by side."""
MOST_OPEN = EACH // 2 if drawn_day() == SOME_DAY else EACH
"""Models beside these that may be inconclusive: of a thousand one in twenty is, of two dozen of a day up to a third."""


def conclusive(seeds, folder):
    """Outcomes of documents one after another, until ``EACH`` of them are conclusive."""
    outcomes = []
    for seed in seeds:
        spec = checked(seed).spec
        assert spec is not None
        try:
            outcomes.append(whole_way(spec, folder / str(seed)).word)
        except Exception as error:
            raise AssertionError(shown(seed, drawn(seed), f"{type(error).__name__}: {error}")) from error
        assert outcomes.count("inconclusive") <= MOST_OPEN, outcomes
        if len(outcomes) - outcomes.count("inconclusive") == EACH:
            return outcomes
    raise AssertionError(f"too few documents: {outcomes}")


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("part", [0, 1])
def test_documents_go_the_whole_way(part, tmp_path):
    start = FIRST + 1000 * part
    conclusive(accepted(range(start, start + 10 * EACH)), tmp_path)


@pytest.mark.slow
@pytest.mark.ort
def test_documents_that_continue_text_go_the_whole_way(tmp_path):
    start = FIRST + 5000
    seeds = (seed for seed in accepted(range(start, start + 60 * EACH)) if continues(checked(seed).program))
    outcomes = conclusive(seeds, tmp_path)
    assert set(outcomes) <= {"generated", "inconclusive"}
