"""Rules of tensors: which of theirs holds which of ours."""

import numpy as np
import pytest

from flexit.convert.accounting import account, ahead_of, aliases_of, known_numbers, require_numbers
from flexit.convert.mapping.family import find_family
from flexit.convert.mapping.forms import Scope
from flexit.convert.mapping.rules import Rule
from flexit.convert.pairing import pairs_of, rules_of
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.files.safetensors import DTYPES


def held(*shape, value=0.0):
    return LazyTensor(shape, "F32", lambda: np.full(shape, value, np.float32))


def test_groups_of_layers_are_numbered_by_their_first():
    rules = {"groups.{n}.w": Rule(to="layers.{n}.w", stride={"$quotient": ["$layers", "$groups"]})}
    shapes = {"layers.0.w": (2,), "layers.3.w": (2,)}
    pairs = pairs_of(rules, shapes, Scope({"layers": 6, "groups": 2}, {}, frozenset()))
    assert [(pair.theirs, pair.ours) for pair in pairs] == [
        (("groups.0.w",), ("layers.0.w",)), (("groups.1.w",), ("layers.3.w",)),
    ]  # fmt: skip
    with pytest.raises(SourceError, match="FX1852"):
        pairs_of(rules, {"layers.2.w": (2,)}, Scope({"layers": 6, "groups": 2}, {}, frozenset()))


SCOPE = Scope({}, {}, frozenset())


def bias_of(*, tied, tensors):
    """What the bias of BERT's masked head is read from."""
    bert = find_family("bert")
    head = bert.heads["masked"]
    shapes = {"head.bias": (5,)} | ({} if tied else {"head.table.weight": (5, 4)})
    pairs = pairs_of(rules_of(bert, head, "bert."), shapes, Scope({}, {}, frozenset()))
    aliases = aliases_of(bert, head, prefix="bert.", names=list(tensors))
    found = account(pairs, tensors, aliases, ignored=[])
    return next(float(found[pair.theirs[0]].numpy()[0]) for pair in pairs if pair.ours == ("head.bias",))


LIVE, DEAD = "cls.predictions.decoder.bias", "cls.predictions.bias"
TABLE = {"cls.predictions.decoder.weight": held(5, 4)}


def test_of_two_biases_that_are_tied_either_is_read_and_both_must_agree():
    assert bias_of(tied=True, tensors={DEAD: held(5, value=1.0), LIVE: held(5, value=1.0)}) == 1.0
    assert bias_of(tied=True, tensors={DEAD: held(5, value=1.0)}) == 1.0
    with pytest.raises(SourceError, match="FX1863"):
        bias_of(tied=True, tensors={DEAD: held(5, value=1.0), LIVE: held(5, value=2.0)})


def test_of_two_biases_that_are_not_tied_theirs_reads_one():
    assert bias_of(tied=False, tensors={**TABLE, DEAD: held(5, value=1.0), LIVE: held(5, value=2.0)}) == 2.0
    assert bias_of(tied=False, tensors={**TABLE, DEAD: held(5, value=1.0)}) == 1.0


def test_a_rule_says_nothing_where_its_condition_does_not_hold():
    rules = {
        "ln_attn.w": Rule(to="norm.w", where={"norms": 2}),
        "ln.w": Rule(to="norm.w"),
    }
    for norms, name in ((2, "ln_attn.w"), (1, "ln.w")):
        (pair,) = pairs_of(rules, {"norm.w": (3,)}, Scope({"norms": norms}, {}, frozenset()))
        assert pair.theirs == (name,)


def test_words_of_a_hole_also_bind_the_parameter():
    rules = {"attn.{p:q|k}.w": Rule(to="{p}_proj.w"), "attn.dense.w": Rule(to="o_proj.w")}
    pairs = pairs_of(rules, {"q_proj.w": (2,), "o_proj.w": (2,)}, Scope({}, {}, frozenset()))
    assert [pair.theirs for pair in pairs] == [("attn.q.w",), ("attn.dense.w",)]


def test_a_known_number_must_be_what_a_checkpoint_holds():
    known = known_numbers(find_family("apertus"), prefix="model.", paths=["decoder.layers.3.feed_forward.alpha_p"])
    assert [(each.name, each.value) for each in known] == [
        ("model.layers.3.mlp.act_fn.beta", 0.5), ("model.layers.3.mlp.act_fn.eps", -1e-6),
    ]  # fmt: skip
    rounded = np.float32(-1e-6).astype(DTYPES["BF16"])
    require_numbers(known, {known[1].name: LazyTensor((), "BF16", lambda: np.asarray(rounded))})
    with pytest.raises(SourceError, match="FX1863"):
        require_numbers(known, {known[0].name: LazyTensor((), "F32", lambda: np.asarray(np.float32(0.25)))})


def test_older_names_of_norms_stand_for_what_the_model_has():
    bert = find_family("bert")
    name = "bert.embeddings.LayerNorm"
    pairs = pairs_of(rules_of(bert, bert.heads["masked"], "bert."), {"embed.norm.weight": (4,)}, SCOPE)
    tensors = {f"{name}.gamma": held(4, value=3.0)}
    aliases = aliases_of(bert, bert.heads["masked"], prefix="bert.", names=list(tensors))
    assert account(pairs, tensors, aliases, ignored=[])[f"{name}.weight"].numpy()[0] == 3.0
    with pytest.raises(SourceError, match="FX1861"):
        account([], tensors, aliases, ignored=[])


def test_only_as_many_further_layers_as_the_configuration_says_are_left_out():
    names = [f"model.layers.{n}.mlp.gate.weight" for n in (2, 3, 4)]
    scope = Scope({"num_hidden_layers": 3, "num_nextn_predict_layers": 1}, {}, frozenset())
    assert ahead_of(find_family("deepseek_v3"), names, prefix="model.", scope=scope) == names[1:2]
