"""Names that users know from elsewhere: each leads to one kind or field, and none is a name of this language."""

from __future__ import annotations

import pytest

from flexit.ir import registry
from flexit.ir.block import Block, FeedForward, Mixer
from flexit.ir.language.describe import legal_kinds, meant_kind, usual_kind
from flexit.ir.language.kinds import families
from flexit.ir.wording import OTHER_NAMES, nearest, plain, same

FAMILIES = [family for family in families() if family.__module__.startswith("flexit.")]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.family)
def test_what_a_kind_is_also_called_is_no_kind_of_its_family(family):
    known = set(registry.names(family))
    for kind in known:
        cls = registry.find(family, kind)
        assert cls is not None
        assert not known & set(cls.also_called)
        assert all(name == plain(name) for name in cls.also_called)
        assert all(more.partition(":")[0] in cls.model_fields for more in cls.also_called.values() if more)


@pytest.mark.parametrize(
    ("word", "trait", "kind"),
    [
        ("mha", Mixer, "multi_head"),
        ("Self-Attention", Mixer, "multi_head"),
        ("GQA", Mixer, "multi_head"),
        ("swiglu", FeedForward, "gated_mlp"),
        ("ffn", FeedForward, "mlp"),
        ("bert_head", Block, "mlm_head"),
        ("dense", Block, "linear"),
    ],
)
def test_a_name_of_a_kind_leads_to_it(word, trait, kind):
    found = meant_kind(word, trait)
    assert found is not None and found[0] == kind
    assert meant_kind("no such thing", trait) is None


def test_other_names_of_fields_are_no_fields_of_the_same_meaning():
    assert not any(field in names for field, names in OTHER_NAMES.items())
    assert same("hidden_size", ["vocab_size", "d_model"]) == "d_model"
    assert same("hidden_size", ["d_ff", "bias"]) == "d_ff"
    assert same("hidden_size", ["bias"]) is None


def test_the_nearest_name_goes_by_meaning_and_then_by_likeness():
    assert nearest("rope", ["scores", "rotary"]) == "rotary"
    assert nearest("RMSNorm", ["layer_norm", "rms_norm"]) == "rms_norm"
    assert nearest("MultiHeads", ["Mla", "MultiHead"]) == "MultiHead"
    assert nearest("xyz", ["layer_norm", "rms_norm"]) is None


def test_the_kind_to_propose_has_the_fields_that_are_written():
    assert legal_kinds(Mixer)[0] != usual_kind(Mixer) == "multi_head"
    assert usual_kind(Mixer, ["kernel"]) == "short_conv"
    assert usual_kind(FeedForward, ["n_experts", "d_ff"]) in ("moe", "mlp")
    assert usual_kind(FeedForward, ["n_experts", "top_k", "expert"]) == "moe"
