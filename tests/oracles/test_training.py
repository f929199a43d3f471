"""Dropout wherever a field puts it: each number is zero with probability p or scaled by 1 / (1 - p), in training only.
Where whole branches are dropped, all numbers of a row have one fate.

Every case is arranged so that its output is the dropped array itself: maps after the dropout are identities, skips are
subtracted. What is dropped comes from the definitions, which know no dropout.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from flexit.ir.compile import compile_spec
from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import build, fill
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.proof.stress import stress_weights
from tests.oracles.cases.case import EMBEDS, WIDTH, document
from tests.oracles.reference.model import interpret

P, ROWS, CPU = 0.3, 400, torch.device("cpu")
MLP = {"kind": "mlp", "d_ff": 11, "activation": "tanh"}
HEADS = {"kind": "multi_head", "n_heads": 2, "mask": "causal"}
LATENT = {
    "kind": "mla", "n_heads": 1, "kv_lora_rank": WIDTH, "qk_nope_head_dim": 2, "qk_rope_head_dim": 2,
    "v_head_dim": WIDTH, "norm": {"kind": "rms_norm", "gain": False}, "rotary": {}, "mask": "full",
}  # fmt: skip
BARE = {"kind": "transformer_layer", "norm": None, "attention": None, "feed_forward": None}


@dataclass(frozen=True)
class Dropped:
    """A block with one dropout.

    Attributes:
        owner, key: the field that says p.
        identities: parameters that are set to the identity matrix. silenced: those that are set to zero.
        skips: whether the output is the input plus what is dropped.
        rows: whether whole rows of the batch are dropped.
        p: how often, if the field's own number is not it.
    """

    owner: str
    key: str
    block: dict = field(hash=False)
    identities: tuple[str, ...] = ()
    silenced: tuple[str, ...] = ()
    skips: bool = False
    rows: bool = False
    p: float = P
    tokens: bool = False
    name: str = ""

    def __str__(self):
        return f"{self.owner}.{self.key}{self.name}"

    @property
    def spec(self):
        more = {} if self.tokens else EMBEDS
        return document({"block": {self.key: P, **self.block}}, outputs={"dropped": "block"}, **more)


def side_by_side(key, silenced, **more):
    """A parallel layer, one of whose branches is zero."""
    block = {**BARE, "attention": HEADS, "feed_forward": MLP, "residual": "parallel"}
    name = f" beside {silenced.split('.')[1]}"
    return Dropped("Block.transformer_layer", key, block, silenced=(silenced,), skips=True, name=name, **more)


def at_depth(layer, p, rate="linear"):
    """A stack that drops whole branches, all of whose layers but one are zero."""
    body = {"kind": "residual", "body": MLP, "drop_path": 2 * P}
    block = {"kind": "stack", "n_layers": 3, "layer": body, "drop_path_rate": rate}
    silenced = tuple(f"block.layers.{other}.body.down_proj.weight" for other in range(3) if other != layer)
    name = f" {rate} at layer {layer}"
    return Dropped("Block.stack", "drop_path_rate", block, silenced=silenced, skips=True, rows=True, p=p, name=name)


ATTENTION_OFF, FORWARD_OFF = "block.attention.o_proj.weight", "block.feed_forward.down_proj.weight"
CASES = [
    Dropped("Block.dropout", "p", {"kind": "dropout"}),
    Dropped("Block.embedding", "dropout", {"kind": "embedding", "vocab_size": 13, "d_model": WIDTH}, tokens=True),
    Dropped("Block.mlp", "dropout", {**MLP, "d_ff": WIDTH}, ("block.down_proj.weight",)),
    Dropped("Block.gated_mlp", "dropout", {"kind": "gated_mlp", "d_ff": WIDTH}, ("block.down_proj.weight",)),
    Dropped("Block.residual", "dropout", {"kind": "residual", "body": MLP}, skips=True),
    Dropped("Block.transformer_layer", "dropout", {**BARE, "feed_forward": MLP}, skips=True, name=" feed_forward"),
    Dropped("Block.transformer_layer", "dropout", {**BARE, "attention": HEADS}, skips=True, name=" attention"),
    side_by_side("dropout", ATTENTION_OFF),
    side_by_side("dropout", FORWARD_OFF),
    Dropped("Block.residual", "drop_path", {"kind": "residual", "body": MLP}, skips=True, rows=True),
    Dropped("Block.transformer_layer", "drop_path", {**BARE, "feed_forward": MLP}, skips=True, rows=True),
    side_by_side("drop_path", ATTENTION_OFF, rows=True),
    side_by_side("drop_path", FORWARD_OFF, rows=True),
    at_depth(1, P),
    at_depth(2, 2 * P),
    at_depth(1, 2 * P, rate="constant"),
    *[
        Dropped(
            f"Block.{kind}",
            "dropout",
            {"kind": kind, "n_labels": WIDTH, "dense": {"bias": True}, "bias": False, **pool},
            ("block.out.weight",),
        )
        for kind, pool in (
            ("sequence_classifier", {"pool": "mean"}),
            ("regression", {"pool": "mean"}),
            ("token_classifier", {}),
        )
    ],
    Dropped("Block.span", "dropout", {"kind": "span", "bias": False}, ("block.out.weight",)),
    Dropped(
        "Block.multi_head",
        "dropout",
        {"kind": "multi_head", "n_heads": 1, "mask": "full"},
        ("block.v_proj.weight", "block.o_proj.weight"),
    ),
    Dropped(
        "Block.mla", "dropout", LATENT, ("block.o_proj.weight", "block.kv_a_proj.weight", "block.kv_b_proj.weight")
    ),
]


@pytest.fixture(params=CASES, ids=str)
def dropped(request):
    """The case's module, its inputs, the array that is dropped, and what the output has beside it."""
    case = request.param
    program = compile_spec(parse_spec(json.dumps(case.spec)))
    weights = stress_weights(program)
    weights |= {path: np.eye(*weights[path].shape) for path in case.identities}
    weights |= {path: np.zeros(weights[path].shape) for path in case.silenced}
    module = build(program)
    fill(module, weights, dtype=torch.float64, device=CPU)
    rng = np.random.default_rng(2)
    given = {"inputs_embeds": rng.standard_normal((ROWS, WIDTH, WIDTH))}
    if case.key == "dropout" and case.owner in ("Block.multi_head", "Block.mla"):
        given = {"inputs_embeds": np.tile(np.eye(WIDTH), (ROWS, 1, 1))}  # so that v picks each weight out
    if case.tokens:
        given = {"input_ids": rng.integers(0, 13, (ROWS, WIDTH))}
    (result,) = interpret(case.spec, weights, given)[0].values()
    beside = given["inputs_embeds"] if case.skips else np.zeros_like(result[0])
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}

    def run():
        with torch.no_grad():
            return next(iter(module(**tensors).values())).numpy()

    return case, module, run, result[0] - beside, beside


def test_nothing_is_dropped_outside_training(dropped):
    _, module, run, whole, beside = dropped
    module.eval()
    assert relative_error(run(), whole + beside) < 1e-6


def test_zero_or_scaled_in_training(dropped):
    case, module, run, whole, beside = dropped
    module.train()
    torch.manual_seed(4)
    found = run() - beside
    scale = np.abs(whole).max()
    zero = np.abs(found) < 1e-9 * scale
    kept = np.abs(found - whole / (1 - case.p)) < 1e-6 * scale
    telling = np.abs(whole) > 1e-4 * scale
    assert (zero | kept)[telling].all()
    if case.rows:
        one_fate = [set(row[there]) for row, there in zip(zero, telling, strict=True)]
        assert all(len(fates) == 1 for fates in one_fate)
        zero = np.array([fates.pop() for fates in one_fate])
    else:
        zero = zero[telling]
    assert abs(zero.mean() - case.p) < 5 * np.sqrt(case.p * (1 - case.p) / zero.size)


def test_each_pass_draws_anew(dropped):
    _, module, run, _, _ = dropped
    module.train()
    torch.manual_seed(4)
    first = run()
    assert not np.array_equal(first, run())
    torch.manual_seed(4)
    assert np.array_equal(first, run())


def test_no_branch_of_the_first_layer_is_dropped_where_deeper_ones_are_more():
    case = at_depth(0, 0.0)
    program = compile_spec(parse_spec(json.dumps(case.spec)))
    module, weights = build(program), stress_weights(program)
    fill(module, {**weights, **dict.fromkeys(case.silenced, np.zeros((WIDTH, 11)))}, dtype=torch.float64, device=CPU)
    x = torch.randn(ROWS, 3, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        (whole,), (trained,) = module.eval()(x).values(), module.train()(x).values()
    assert torch.equal(whole, trained)
