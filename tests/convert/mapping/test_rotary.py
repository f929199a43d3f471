"""The form of rotations: filled from newer and older keys, and read back."""

import pytest

from flexit.convert.mapping.forms import Found, Incomplete, Scope


def filled(template, config, defaults=None, layer=None):
    return Scope(config, defaults or {}, frozenset({"kinds"}), layer=layer).fill(template)


def read(template, value, known=()):
    found = Found(frozenset())
    found.keys.update(known)
    found.read(template, value)
    return found.keys["rope_parameters"]


@pytest.mark.parametrize("width", range(2, 130))
def test_a_share_of_the_channels_gives_as_many_when_it_is_read_back(width):
    template = {"$rope": "half", "share": 0.25}
    for dim in range(2, width, 2):
        share = read(template, {"dim": dim}, {"head_dim": width})["partial_rotary_factor"]
        config = {"head_dim": width, "rope_parameters": {"partial_rotary_factor": share}}
        assert filled(template, config)["dim"] == dim


def test_all_channels_are_said_where_a_part_is_usual():
    assert read({"$rope": "half", "share": 0.5}, {}, {"head_dim": 8})["partial_rotary_factor"] == 1.0
    assert "partial_rotary_factor" not in read({"$rope": "half"}, {}, {"head_dim": 8})


def test_the_width_of_a_head_may_be_a_form():
    heads = {"$quotient": ["$hidden_size", "$heads"]}
    told = read({"$rope": "half", "heads": heads}, {"dim": 4}, {"hidden_size": 32, "heads": 2})
    assert told["partial_rotary_factor"] == 0.25


def test_theta_and_share_may_stand_under_other_keys():
    template = {"$rope": "half", "base": "rotary_emb_base", "part": "rotary_pct", "share": 0.25}
    found = filled(template, {"head_dim": 16, "rotary_emb_base": 500.0, "rotary_pct": 0.5})
    assert (found["theta"], found["dim"]) == (500.0, 8)
    assert filled(template, {"head_dim": 16})["dim"] == 4


def test_layers_with_a_base_of_their_own_take_no_scaling_from_older_keys():
    template = {
        "$rope": "half", "by": "kinds", "theta": {"window": 1e4, "full": 1e6}, "thetas": {"window": "local_theta"},
    }  # fmt: skip
    config = {"kinds": ["window", "full"], "rope_scaling": {"rope_type": "linear", "factor": 8.0}}
    assert filled(template, config, layer=0) == {"theta": 1e4, "style": "half"}
    assert filled(template, config, layer=1)["scaling"] == {"kind": "linear", "factor": 8.0}
    assert filled(template, {**config, "local_theta": 7.0}, layer=0)["theta"] == 7.0


def test_longrope_says_its_first_length_outside_too():
    scaling = {"kind": "longrope", "factor": 4.0, "original_max_len": 8, "short_factor": [1.0], "long_factor": [2.0]}
    found = Found(frozenset())
    found.read({"$rope": "half"}, {"scaling": scaling})
    assert found.keys["original_max_position_embeddings"] == 8


def test_two_keys_that_say_different_rotations_are_refused():
    newer, older = {"rope_theta": 1e4, "rope_type": "default"}, {"type": "linear", "factor": 2.0}
    with pytest.raises(Incomplete, match="rope_scaling"):
        filled({"$rope": "half"}, {"rope_parameters": newer, "rope_scaling": older})
    same = {"rope_parameters": {**older, "rope_theta": 1e6}, "rope_scaling": older, "rope_theta": 1e6}
    assert filled({"$rope": "half"}, same)["scaling"] == {"kind": "linear", "factor": 2.0}
