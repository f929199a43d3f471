"""Rows longer than a table, a window, or the length that a rotation was trained for: refused with the same words in
both runtimes, or continued by the formula, the same whole and step by step.
"""

import json
from functools import cache

import numpy as np
import pytest

from flexit.errors import TaskError
from flexit.ir.analysis.dependence import revises
from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.generation.generate import generate
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.sessions import ort_session
from tests.stressed import stressed

VOCAB, TRAINED, LONG = 23, 8, 41
"""What tables, windows and rotations are made for, and what they are given."""
FACTORS = {"short_factor": [1.0, 1.5, 2.0, 3.0], "long_factor": [2.0, 5.0, 7.0, 9.0]}


def rotary(kind, **fields):
    return {"rotary": {"theta": 30.0, "scaling": {"kind": kind, **fields}}}


def bias(kind, **fields):
    return {"scores": {"bias": {"kind": kind, **fields}}}


def mask(**fields):
    return {"mask": {"kind": "causal", **fields}, "rotary": {}}


REFUSED = {
    "learned": ({"position": {"kind": "learned", "max_len": TRAINED}}, {}),
    "learned with an offset": ({"position": {"kind": "learned", "max_len": TRAINED, "offset": 2}}, {}),
    "learned by slot": ({"position": {"kind": "learned", "max_len": TRAINED, "ids": "slot"}}, {}),
    "learned by counting": (
        {"position": {"kind": "learned", "max_len": TRAINED, "ids": {"kind": "non_pad_cumsum", "pad_id": 1}}}, {},
    ),
    "relative_global": ({}, bias("relative_global", max_len=TRAINED)),
}  # fmt: skip
CONTINUED = {
    "nothing": ({}, {}),
    "sinusoidal": ({"position": "sinusoidal"}, {}),
    "sinusoidal of fairseq": ({"position": {"kind": "sinusoidal", "style": "fairseq", "offset": 2}}, {}),
    "rotary": ({}, {"rotary": {}}),
    "linear": ({}, rotary("linear", factor=4.0)),
    "ntk": ({}, rotary("ntk", alpha=4.0)),
    "yarn": ({}, rotary("yarn", factor=4.0, original_max_len=TRAINED, beta_fast=4.0, beta_slow=0.1)),
    "llama3": (
        {}, rotary("llama3", factor=4.0, original_max_len=TRAINED, low_freq_factor=1.0, high_freq_factor=4.0),
    ),
    "proportional": ({}, {"rotary": {"dim": 4, "scaling": {"kind": "proportional", "factor": 2.0}}}),
    "dynamic": ({}, rotary("dynamic", factor=4.0, original_max_len=TRAINED)),
    "longrope": ({}, rotary("longrope", **FACTORS, original_max_len=TRAINED, factor=4.0)),
    "window": ({}, mask(window=TRAINED)),
    "window with kept keys": ({}, mask(window=TRAINED, keep_first=2)),
    "chunk": ({}, mask(chunk=TRAINED)),
    "alibi": ({}, bias("alibi")),
    "t5": ({}, bias("t5", n_buckets=6, max_distance=TRAINED)),
    "distance": ({}, bias("distance", max_distance=TRAINED)),
    "relative": ({}, bias("relative", max_distance=TRAINED, values=True)),
    "disentangled": ({}, bias("disentangled", n_buckets=4, max_distance=TRAINED)),
}  # fmt: skip


@cache
def model(name):
    embedding, attention = {**REFUSED, **CONTINUED}[name]
    layer = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre",
        "attention": {"kind": "multi_head", "n_heads": 2, "head_dim": 8, "mask": "causal", **attention},
        "feed_forward": {"kind": "mlp", "d_ff": 32},
    }  # fmt: skip
    blocks = {
        "embed": {"kind": "embedding", "vocab_size": VOCAB, "d_model": 16, **embedding},
        "decoder": {"kind": "stack", "n_layers": 1, "layer": layer, "final_norm": True},
        "head": {"kind": "lm_head", "vocab_size": VOCAB},
    }
    spec = parse_spec(json.dumps({"flexit": 1, "name": "long", "blocks": blocks}))
    return stressed(spec)


def tokens(length):
    """Ids of three rows, none of them a pad to the model, and a mask: whole, padded left, padded right."""
    ids, mask = np.random.default_rng(0).integers(2, VOCAB, (3, length)), np.ones((3, length), np.int64)
    mask[1, :2] = 0
    mask[2, -2:] = 0
    return ids, mask


def message(doing):
    with pytest.raises(TaskError) as caught:
        doing()
    return str(caught.value)


@pytest.mark.ort
@pytest.mark.parametrize("name", REFUSED)
def test_beyond_a_table_is_refused_with_the_same_words(name, tmp_path):
    sessions = (TorchSession(model(name)), ort_session(model(name), tmp_path))
    ids = tokens(TRAINED + 1)[0]
    said = [message(lambda s=session: s.run({"input_ids": ids})) for session in sessions]
    assert said[0] == said[1]
    assert "FX2001" in said[0]
    assert f"at most {TRAINED}" in said[0]
    for session in sessions:
        session.start({"input_ids": ids[:, :TRAINED]})
    said = [message(lambda s=session: s.step(ids[:, :1])) for session in sessions]
    assert said[0] == said[1]
    assert f"at most {TRAINED}" in said[0]
    said = [message(lambda s=session: generate(s, [[3] * 4], max_new_tokens=6)) for session in sessions]
    assert said[0] == said[1]
    assert "FX2003" in said[0]


@pytest.mark.ort
@pytest.mark.parametrize("name", REFUSED)
def test_up_to_the_end_of_a_table_both_agree(name, tmp_path):
    ids, mask = tokens(TRAINED)
    given = {"input_ids": ids, "attention_mask": mask}
    found = [each.run(given)["logits"] for each in (TorchSession(model(name)), ort_session(model(name), tmp_path))]
    assert relative_error(found[1], found[0], mask != 0) < 1e-5


@pytest.mark.ort
@pytest.mark.parametrize("name", CONTINUED)
def test_beyond_everything_else_both_continue_and_steps_are_whole_runs(name, tmp_path):
    module, (ids, mask) = model(name), tokens(LONG)
    here, there = TorchSession(module), ort_session(module, tmp_path)
    given = {"input_ids": ids, "attention_mask": mask}
    expected, valid = here.run(given)["logits"], mask != 0
    assert relative_error(there.run(given)["logits"], expected, valid) < 1e-5
    last = valid & (valid.cumsum(axis=1) == valid.sum(axis=1, keepdims=True))
    for session in (here, there):
        session.start({name: array[:, :5] for name, array in given.items()})
        pieces = [session.step(ids[:, at : at + 9], mask[:, at : at + 9]) for at in range(5, LONG, 9)]
        kept = last if revises(module.program) else valid
        assert relative_error(np.concatenate(pieces, axis=1), expected[:, 5:], kept[:, 5:]) < 1e-5


@pytest.mark.ort
@pytest.mark.parametrize(
    ("shorter", "longest"),
    [({"kind": "downsample", "factor": 2}, 2 * TRAINED), ({"kind": "slice", "stop": TRAINED}, None)],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_table_over_a_shorter_length_reaches_further(shorter, longest, tmp_path):
    attention = {"kind": "multi_head", "n_heads": 2, "mask": "full", **bias("relative_global", max_len=TRAINED)}
    embed = {"kind": "embedding", "vocab_size": VOCAB, "d_model": 16}
    blocks = {"embed": embed, "shorter": shorter, "attention": attention, "pool": {"kind": "pool", "method": "mean"}}
    module = to_torch(parse_spec(json.dumps({"flexit": 1, "name": "shorter", "blocks": blocks}))).eval()
    sessions = (TorchSession(module), ort_session(module, tmp_path))
    ids = tokens(longest or LONG)[0]
    found = [next(iter(session.run({"input_ids": ids}).values())) for session in sessions]
    assert relative_error(found[1], found[0]) < 1e-5
    if longest is not None:
        more = tokens(longest + 1)[0]
        said = [message(lambda s=session: s.run({"input_ids": more})) for session in sessions]
        assert said[0] == said[1]
        assert f"at most {longest}" in said[0]


BLIND = {"window", "chunk", "t5", "distance", "relative", "disentangled"}
"""What tells tokens apart only up to a distance."""


@pytest.mark.parametrize("name", [name for name in CONTINUED if name != "nothing"])
def test_the_order_of_early_tokens_matters_or_does_not(name):
    """So what agrees above is more than a constant, and what is said to end somewhere does."""
    ids = tokens(LONG)[0][:1]
    moved = np.concatenate([ids[:, 20:30], ids[:, :20], ids[:, 30:]], axis=1)
    found = [TorchSession(model(name)).run({"input_ids": each})["logits"][:, -1] for each in (ids, moved)]
    assert (relative_error(*found) < 1e-5) == (name in BLIND)
