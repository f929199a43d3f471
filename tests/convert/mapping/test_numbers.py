"""Forms that compute: filled from a configuration, and turned round."""

import pytest

from flexit.convert.mapping.forms import Found, Incomplete, Mismatch, Scope

ROWS = {"$difference": ["$rows", "$pad", 1]}


def scope(config):
    return Scope(config, {}, frozenset())


def test_a_difference_is_the_first_less_the_others():
    assert scope({"rows": 514, "pad": 1}).fill(ROWS) == 512


@pytest.mark.parametrize(("known", "key", "value"), [({"pad": 1}, "rows", 514), ({"rows": 514}, "pad", 1)])
def test_a_difference_gives_the_one_key_that_is_not_known(known, key, value):
    found = Found(frozenset())
    found.keys.update(known)
    found.read(ROWS, 512)
    assert found.keys[key] == value


def test_a_difference_of_two_unknown_keys_gives_neither():
    found = Found(frozenset())
    found.read(ROWS, 512)
    assert found.keys == {}


def test_a_difference_is_of_numbers():
    with pytest.raises(Incomplete, match="pad"):
        scope({"rows": 514, "pad": "1"}).fill(ROWS)
    with pytest.raises(Mismatch):
        Found(frozenset()).read(ROWS, "many")


ROOT = {"$power": ["$width", -0.5]}


def test_a_power_and_its_key():
    assert scope({"width": 256}).fill(ROOT) == 0.0625
    found = Found(frozenset())
    found.read(ROOT, 0.0625)
    assert found.keys == {"width": 256}


@pytest.mark.parametrize("width", [-1, 0, -(10**30), 10**400])
def test_a_power_is_a_real_number(width):
    with pytest.raises(Incomplete, match="width: expected values that power can use"):
        scope({"width": width}).fill(ROOT)


@pytest.mark.parametrize("form", [ROOT, {"$quotient": [1, "$width"]}], ids=["power", "quotient"])
def test_nothing_gives_zero(form):
    with pytest.raises(Mismatch, match=r"expected a (power|number other)"):
        Found(frozenset()).read(form, 0)


FIRST = {"$first": 1, "hit": False, "miss": True, "n": "$n"}


def test_the_first_layers_may_be_counted_by_a_number():
    assert scope({"n": 3}).fill(FIRST) == [False, True, True]
    found = Found(frozenset())
    found.read(FIRST, [False, True, True])
    assert found.keys == {}
    with pytest.raises(Mismatch):
        found.read(FIRST, [True, True])
