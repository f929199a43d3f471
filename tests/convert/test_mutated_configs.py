"""Configurations with anything wrong in them: a clear error, or a model; never another exception."""

import json
from copy import deepcopy
from random import Random

import pytest

from flexit.convert.pretrained import from_pretrained, spec_of
from flexit.errors import SourceError
from tests.convert.families.models import all_drawn, made
from tests.fuzz.day import drawn_day

pytestmark = pytest.mark.slow

COUNT = 8
"""Mutations of each of one model of every family."""
STRANGE = [
    None, True, False, 0, 1, -1, 2, 3, 7, 10**6, 2**30, 10**30, -(10**30), 0.0, 0.5, -1.5, 1e-300, 1e300,
    "", "silu", "x",
    "\x1b[31m", "10", [], [1], [None], ["full_attention"], [[1]], {}, {"a": 1}, {"rope_type": "yarn"}, {"rope_type": 3},
    {"rope_type": "linear", "factor": "x"}, {"rope_theta": None}, {"full_attention": {"rope_theta": 0}},
]  # fmt: skip


def ways():
    """One way to draw a model of each family."""
    found = {}
    for way in all_drawn():
        found.setdefault(way.family, way)
    return list(found.values())


def mutated(config, rng):
    """The configuration with one to three keys taken away, changed, added or moved."""
    data = json.loads(json.dumps(config))
    for _ in range(rng.randrange(1, 4)):
        key = rng.choice([*sorted(data), "rope_scaling", "rope_theta", "quantization_config", "x"])
        what = rng.randrange(4)
        if what == 0:
            data.pop(key, None)
        elif what == 1 and isinstance(data.get(key), dict) and data[key]:
            data[key][rng.choice(sorted(data[key]))] = deepcopy(rng.choice(STRANGE))
        elif what == 2 and isinstance(data.get(key), list) and data[key]:
            data[key][rng.randrange(len(data[key]))] = deepcopy(rng.choice(STRANGE))
        else:
            data[key] = deepcopy(rng.choice(STRANGE))
    return data


@pytest.fixture(scope="module", params=ways(), ids=str)
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    made(request.param, 0).save_pretrained(folder)
    return folder


def test_only_clear_errors(checkpoint):
    file = checkpoint / "config.json"
    config = json.loads(file.read_text())
    rng = Random(f"{config['model_type']} {drawn_day()}")
    refused = 0
    for _ in range(COUNT):
        data = mutated(config, rng)
        file.write_text(json.dumps(data))
        refused += is_refused(checkpoint)
    file.write_text(json.dumps(config))
    assert refused > 0


def is_refused(folder):
    """Whether a checkpoint is refused, which is done with all that a message has."""
    told = ()
    try:
        spec_of(folder)
        model = from_pretrained(folder)
        assert [tensor.numpy().shape for tensor in model.weights.values()]
    except SourceError as error:
        told = error.problems
    assert all(each.message and each.expected and each.found and each.cure for each in told)
    assert not any("\x1b" in str(each) for each in told)
    return bool(told)
