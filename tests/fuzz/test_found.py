"""What fuzzing has found, each as the smallest document that showed it."""

from math import erf

import numpy as np
import pytest
import torch

from flexit.ir.analysis.cost import count_parameters, position_limit
from flexit.ir.io.load import check_tree
from flexit.ir.language.written import Node
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.bundle import open_bundle
from flexit.runtime.bundles.export import export
from flexit.runtime.generation.generate import generate
from flexit.runtime.proof.grid import cases, inputs_for
from flexit.runtime.proof.stress import stress_weights
from flexit.runtime.sessions.torch_session import TorchSession
from tests.fuzz.legality import judge

EMBED = {"kind": "embedding", "vocab_size": 31, "d_model": 8}
CAUSAL = {"kind": "multi_head", "n_heads": 2, "mask": "causal"}
SELF = {"kind": "multi_head", "n_heads": 2, "mask": "full"}
MLP = {"kind": "mlp", "d_ff": 12}
SHORTER = {"kind": "downsample", "factor": 2}
LAYER = {
    "kind": "transformer_layer",
    "norm": "rms_norm",
    "norm_placement": "post",
    "attention": CAUSAL,
    "feed_forward": MLP,
}
ZERO = {"kind": "rms_norm", "init": {"gain": "zeros"}}


def stack(layer, **more):
    return {"kind": "stack", "n_layers": 2, "layer": layer, **more}


def document(**blocks):
    return {"flexit": 1, "name": "found", "blocks": {"embed": EMBED, **blocks}}


LEGAL = {
    "a graph that shortens, before what reads positions": document(
        short={"kind": "graph", "blocks": {"shorter": SHORTER}}, mixed=SELF
    ),
    "two ways to one length": document(
        mean=SHORTER, first={**SHORTER, "method": "first", "from": "embed"},
        both={"kind": "add", "from": ["mean", "first"]},
    ),
    "a stack with a score bias inside another region": document(
        outer={"kind": "residual", "body": stack(CAUSAL, score_bias="t5")}
    ),
    "a score bias read through a stack in the stack": document(outer=stack(stack(CAUSAL), score_bias="t5")),
    "a port that one layer reads and the residual in the others does not": document(
        other={"kind": "rms_norm"},
        layers=stack(
            {"kind": "residual", "body": MLP}, variants={"odd": {"body": SELF}}, pattern=["default", "odd"],
            **{"from": {"x": "embed", "memory": "other"}},
        ),
    ),
}  # fmt: skip

LEGAL["a mixture that shares its experts and chooses fewer"] = document(
    first={"kind": "moe", "n_experts": 3, "top_k": 2, "expert": MLP},
    second={"kind": "moe", "shares": "first", "top_k": 1},
)

LEGAL["token types that the tokens have the length of"] = {
    **document(embed={**EMBED, "token_types": 2, "from": {"tokens": "words", "token_types": "kinds"}}),
    "inputs": {"words": {"kind": "tokens", "like": "kinds"}, "kinds": "tokens"},
}

LEGAL["a window beside the path of a position table"] = {
    **document(
        embed={**EMBED, "from": "input_ids"},
        placed={**EMBED, "position": {"kind": "learned", "max_len": 2}, "from": "more"},
        both={
            "kind": "graph", "from": {"x": "placed", "other": "embed"},
            "blocks": {
                "near": {**CAUSAL, "mask": {"kind": "causal", "window": 3}, "from": "other"},
                "sum": {"kind": "add", "from": ["x", "near"]},
            },
        },
    ),
    "inputs": {"input_ids": "tokens", "more": {"kind": "tokens", "like": "input_ids"}},
}  # fmt: skip

LEGAL["a length twice, whose half it is"] = document(
    short={"kind": "rms_norm"},
    twice={"kind": "concat", "axis": "length", "from": ["embed", "short"]},
    long={"kind": "upsample", "factor": 2, "from": {"x": "short", "like": "twice"}},
)

ILLEGAL = {
    "a second port of a block that chains": ("FX0305", document(longer={"kind": "upsample", "factor": 2})),
    "a graph of no blocks": ("FX0202", document(graph={"kind": "graph", "blocks": {}})),
    "init in a block without parameters": (
        "FX0510", document(drop={"kind": "dropout", "p": 0.1, "init": {"head": "ones"}}),
    ),
    "init of what its own field says": (
        "FX0510",
        document(
            near={"kind": "rms_norm"},
            sum={"kind": "weighted_sum", "from": ["embed", "near"], "init": {"default": "ones"}},
        ),
    ),
    "layers that share but differ": (
        "FX0608",
        document(s=stack(MLP, share={"groups": 1}, variants={"w": {"d_ff": 16}}, pattern=["default", "w"])),
    ),
    "two score biases, one around the other": (
        "FX0503", document(outer=stack(stack(CAUSAL, score_bias="t5"), score_bias="t5")),
    ),
    "a skip after an input norm that is not there": (
        "FX0501", document(layer={**LAYER, "residual": {"kind": "sequential", "skip_from": "normed"}}),
    ),
    "an inert field of a norm in a group": (
        "FX0501", document(mixed={**SELF, "qk": {"norm": {"kind": "rms_norm", "gain": False, "gain_offset": 1.0}}}),
    ),
    "a block that shares with one whose input is refused": (
        "FX0403",
        document(
            mixed={**SELF, "n_heads": 5}, wide={**MLP}, again={"kind": MLP["kind"], "shares": "wide", "from": "embed"},
            both={"kind": "add", "from": ["wide", "again"]},
        ),
    ),
    "an unread memory of a layer": (
        "FX0306", document(other={"kind": "rms_norm"}, layer={**LAYER, "from": {"x": "embed", "memory": "other"}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGAL)
def test_is_legal(name):
    checked = check_tree(Node.of(LEGAL[name]))
    assert checked.valid, [str(problem) for problem in checked.problems]
    assert not judge(LEGAL[name]).codes


@pytest.mark.parametrize("name", ILLEGAL)
def test_is_refused(name):
    code, written = ILLEGAL[name]
    assert {problem.code for problem in check_tree(Node.of(written)).problems} == {code}
    assert judge(written).codes == {code}


@pytest.mark.parametrize(
    ("blocks", "parameter"),
    [
        (
            {"m": {"kind": "moe", "n_experts": 2, "top_k": 1, "expert": {**MLP, "init": {"projection": "ones"}}}},
            "m.experts.up_proj.weight",
        ),
        ({"l": {**LAYER, "norm": ZERO}}, "l.attention_residual_norm.weight"),
        ({"r": {"kind": "residual", "body": MLP, "norm": ZERO, "norm_placement": "pre"}}, "r.input_norm.weight"),
        ({"a": {**SELF, "qk": {"norm": ZERO}}}, "a.k_norm.weight"),
        ({"s": stack({**LAYER, "norm": ZERO}, final_norm=True)}, "s.final_norm.weight"),
        ({"p": {"kind": "pool", "method": "mean", "dense": {"norm": ZERO}}}, "p.dense_norm.weight"),
    ],
    ids=["expert", "layer", "residual", "qk", "final", "dense"],
)  # fmt: skip
def test_init_reaches_the_block_it_is_written_in(blocks, parameter):
    checked = check_tree(Node.of(document(**blocks)))
    assert checked.valid, [str(problem) for problem in checked.problems]
    assert checked.spec is not None
    values = dict(to_torch(checked.spec).named_parameters())[parameter].detach().numpy()
    assert np.unique(values).tolist() in ([0.0], [1.0])
    assert (values == (1.0 if "experts" in parameter else 0.0)).all()


@pytest.mark.ort
def test_a_vector_beside_decoded_tokens_stays_what_it_is(tmp_path):
    mixed = {"kind": "residual", "body": CAUSAL, "norm": "rms_norm", "norm_placement": "post"}
    written = document(mixed=mixed, head={"kind": "lm_head"}, other={"kind": "rms_norm", "from": "given"})
    written |= {"inputs": {"input_ids": "tokens", "given": {"kind": "vector", "width": 8}}}
    written |= {"outputs": {"logits": "head", "other": "other"}}
    written["blocks"]["embed"] = {**EMBED, "from": "input_ids"}
    spec = check_tree(Node.of(written)).spec
    assert spec is not None
    module = to_torch(spec, stress_weights(to_torch(spec).program)).eval()
    export(module, tmp_path / "bundle")
    sessions = (TorchSession(module), open_bundle(tmp_path / "bundle"))
    others = {"given": np.ones((2, 8), np.float32)}
    texts = [generate(session, [[1, 2], [3]], max_new_tokens=4, others=others) for session in sessions]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("rows", "offset", "limit"), [(4, 0, 4), (4, 2, 4), (1, 8, 1)])
def test_the_longest_sequence_is_max_len_whatever_the_offset(rows, offset, limit):
    position = {"kind": "learned", "max_len": rows, "offset": offset}
    program = check_tree(Node.of(document(embed={**EMBED, "position": position}))).program
    assert program is not None
    assert position_limit(program) == limit
    for case in cases(program):
        assert all(array.shape[1] <= limit for array in inputs_for(program, case, np.random.default_rng(0)).values())


@pytest.mark.parametrize("layer", ["rms_norm", {"kind": "linear", "d_out": 8}, stack(MLP), MLP], ids=str)
def test_layers_of_any_kind_share(layer):
    whole = document(layers=stack(layer, share={"groups": 1}))
    alone = document(layers=stack(layer) | {"n_layers": 1})
    programs = [check_tree(Node.of(written)).program for written in (whole, alone)]
    counts = {count_parameters(program) for program in programs if program is not None}
    assert len(programs) == 2 and len(counts) == 1


@pytest.mark.parametrize("more", [{}, {"dropout": 0.5}], ids=["alike", "another region"])
def test_a_block_in_a_repeated_graph_shares_with_its_own_sibling(more):
    blocks = {"first": MLP, "second": {"kind": "mlp", "shares": "first", **more}}
    spec = check_tree(Node.of(document(layers=stack({"kind": "graph", "blocks": blocks})))).spec
    assert spec is not None
    module = to_torch(spec, stress_weights(to_torch(spec).program)).eval()
    weights = {name: value.detach().numpy().astype(np.float64) for name, value in module.named_parameters()}
    assert not [name for name in weights if ".second." in name]
    ids = np.array([[0, 1, 2]])
    x = weights["embed.tokens.weight"][ids]
    for layer in ("layers.layers.0.first", "layers.layers.1.first"):
        for _ in range(2):
            x = gelu(x @ weights[f"{layer}.up_proj.weight"].T) @ weights[f"{layer}.down_proj.weight"].T
    found = module(input_ids=torch.from_numpy(ids))["last_hidden_state"].detach().numpy()
    assert np.abs(found - x).max() <= 1e-5 * np.abs(x).max()


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def test_a_shared_position_table_limits_too():
    owner = {**EMBED, "position": {"kind": "learned", "max_len": 4, "offset": 2}}
    lent = {"kind": "embedding", "shares": "embed", "dropout": 0.5, "from": "input_ids"}
    program = check_tree(
        Node.of(document(embed=owner, again=lent, both={"kind": "add", "from": ["embed", "again"]}))
    ).program
    assert program is not None
    assert position_limit(program) == 4


@pytest.mark.parametrize(("also", "limit"), [("embed", 4), ("memory", 5)])
def test_a_table_of_a_joined_length_limits_what_is_joined(also, limit):
    memory = {"kind": "learned_tokens", "n_tokens": 3, "from": {"like": "embed"}}
    blocks = {
        **({"memory": memory} if also == "memory" else {}),
        "joined": {"kind": "concat", "axis": "length", "from": [also, "embed"]},
        "placed": {"kind": "add_position", "position": {"kind": "learned", "max_len": 8, "offset": 1}},
    }
    program = check_tree(Node.of(document(**blocks))).program
    assert program is not None
    assert position_limit(program) == limit


def test_scores_without_classes_are_not_decoded():
    """A span under the name logits has one score per token."""
    program = check_tree(Node.of({**document(attend=CAUSAL, span="span"), "outputs": {"logits": "span"}})).program
    assert program is not None
    assert program.decoded is None and "no scores for each token" in program.why_not_decoded
