"""Forms that choose: filled from a configuration, and read back from what they gave."""

import pytest

from flexit.convert.mapping.forms import Found, Incomplete, Mismatch, Scope
from flexit.convert.mapping.keys import named_keys


def filled(template, config):
    return Scope(config, {}, frozenset()).fill(template)


def read(template, value, known=()):
    found = Found(frozenset())
    found.keys.update(known)
    found.read(template, value)
    return found.keys


def test_if_compares_a_key_with_another_one():
    template = {"$if": {"inner": "$outer"}, "else": {"dim": "$inner"}}
    assert filled(template, {"inner": 4, "outer": 8}) == {"dim": 4}
    assert filled(template, {"inner": 8, "outer": 8}) == "$absent"
    assert read(template, {"dim": 4}, {"outer": 8})["inner"] == 4
    assert read(template, None, {"outer": 8})["inner"] == 8


def test_a_condition_per_layer_is_noted_for_each_layer():
    template = {"$if": "normed", "else": ["feed_forward"]}
    found = Found(frozenset({"normed"}))
    for layer, value in enumerate([["feed_forward"], None]):
        found.layer = layer
        found.read(template, value)
    assert found.whole("normed") == [False, True]


CASE = {"$case": "types", "of": {"0": "$absent", "1": "$absent"}, "else": "tokens"}


def test_words_under_which_the_same_stands_leave_the_key_open():
    assert read(CASE, None) == {}
    assert read(CASE, "tokens") == {}
    assert read({"$case": "types", "of": {"0": "$absent"}, "else": "tokens"}, None) == {"types": 0}


def test_a_known_word_is_held_against_what_stands_there():
    assert read(CASE, None, {"types": 1}) == {"types": 1}
    with pytest.raises(Mismatch):
        read({"$case": "types", "of": {"0": "a", "1": "b"}}, "b", {"types": 0})


@pytest.mark.parametrize("written", [["p2c", "c2p"], "p2c|c2p", "P2C | c2p"])
def test_words_are_a_list_or_one_text(written):
    assert filled({"$words": "terms"}, {"terms": written}) == ["p2c", "c2p"]
    assert read({"$words": "terms"}, ["p2c", "c2p"]) == {"terms": ["p2c", "c2p"]}


def test_a_word_without_an_entry_is_no_value_of_the_key():
    with pytest.raises(Incomplete, match="types"):
        filled({"$case": "types", "of": {"0": "a"}}, {"types": 7})


def test_a_default_that_is_only_for_a_missing_key_leaves_null():
    defaults = {"cap": {"$missing": 30.0}, "width": 8}
    assert Scope({}, defaults, frozenset()).fill("$cap") == 30.0
    assert Scope({"cap": None}, defaults, frozenset()).fill("$cap") is None
    assert Scope({"cap": 5.0}, defaults, frozenset()).fill("$cap") == 5.0
    assert Scope({"width": None}, defaults, frozenset()).fill("$width") == 8
    assert read({"$missing": "$cap"}, 4.0) == {"cap": 4.0}


def test_keys_that_must_be_equal_are_read_and_written_together():
    template = {"$equal": ["heads", "kv_heads"]}
    assert filled(template, {"heads": 4, "kv_heads": 4}) == 4
    with pytest.raises(Incomplete, match="kv_heads"):
        filled(template, {"heads": 4, "kv_heads": 2})
    assert read(template, 4) == {"heads": 4, "kv_heads": 4}


def test_words_may_be_fractions():
    template = {"$case": "power", "of": {"1.0": True, "null": False}}
    assert filled(template, {"power": 1.0}) is True
    assert read(template, True) == {"power": 1.0}


def test_a_key_inside_a_mapping_has_a_name_with_a_dot():
    assert filled("$rope_parameters.beta", {"rope_parameters": {"beta": 0.1}}) == 0.1
    assert filled("$attn.clip", {"attn.clip": 8}) == 8


def test_keys_of_all_branches_are_named():
    template = {
        "$if": {"tied": True}, "then": {"size": "$vocab"}, "else": [{"$case": "kind", "of": {"a": {"$not": "b"}}}],
    }  # fmt: skip
    assert named_keys(template) == {"tied", "vocab", "kind", "b"}


def test_a_condition_on_a_key_that_is_not_known_yet_binds_nothing():
    template = {"$if": {"inner": "$outer"}, "then": "plain", "else": "mapped"}
    assert "inner" not in read(template, "plain")
    assert read(template, "plain", {"outer": 8})["inner"] == 8
