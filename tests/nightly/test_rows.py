"""Twenty rows of the covering arrays of the day go the whole way."""

from itertools import islice

import pytest

from tests.fuzz.day import drawn_day
from tests.fuzz.legality import judge
from tests.fuzz.sample import as_yaml, check
from tests.nightly.covering import Covering, legal
from tests.nightly.frames import DECODER, ENCODER, ENCODER_DECODER, FRAMES
from tests.nightly.knobs import GROUP, document, merged, settings
from tests.nightly.specs import taken

ROWS = {DECODER: 10, ENCODER: 5, ENCODER_DECODER: 5}


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_rows_go_the_whole_way(frame):
    outcomes = []
    for row in islice(Covering(frame, drawn_day()).rows(), ROWS[frame]):
        data = legal(frame, row)
        assert data is not None
        spec = check(data).spec
        assert spec is not None
        outcome, why = taken(spec)
        assert outcome in ("generated", "proven", "inconclusive"), f"seed {drawn_day()}: {why}\n{as_yaml(data)}"
        outcomes.append(outcome)
    assert outcomes.count("inconclusive") <= 0.6 * len(outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.name)
def test_every_setting_is_a_choice(frame):
    """A frame is accepted as it is, and what a setting says is in the document that is made of it."""
    assert check(frame.document).valid
    for setting in settings(frame):
        parts = merged([setting])
        assert parts is not None
        data = document(frame, parts)
        assert all(value_at(data, path) == value for path, value in parts.items() if path[-1] != GROUP), setting
        assert judge(data).allows({problem.code for problem in check(data).problems if not problem.warning}), setting


def value_at(data, path):
    for step in path:
        data = data[step]
    return data


def test_a_row_has_every_setting_it_names():
    row = next(Covering(DECODER, 0).rows())
    parts = merged(settings(DECODER)[index] for index in row)
    assert parts is not None and len(row) > 20
    data = legal(DECODER, row)
    assert all(value_at(data, path) == value for path, value in parts.items() if path[-1] != GROUP)


def test_two_values_of_one_choice_exclude_each_other():
    one, other, *_ = (s for s in settings(DECODER) if s.knob.endswith("feed_forward(mlp).activation"))
    assert merged([one, other]) is None
    moe = next(setting for setting in settings(DECODER) if setting.value == "moe")
    assert merged([one, moe]) is None
