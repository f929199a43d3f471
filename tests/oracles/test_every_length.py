"""Score biases pair by pair, at every length up to 12: whole and cached, padded on each side, in both backends."""

from itertools import pairwise

import numpy as np
import pytest

from flexit.runtime.proof.compare import relative_error
from tests.conformance.placements import Placed
from tests.oracles.cases.case import TOKENS, VOCAB, document
from tests.oracles.reference.model import interpret

LENGTHS = range(1, 13)
TOLERANCE = 1e-5
BIASES = {
    "t5": {"kind": "t5", "n_buckets": 8, "max_distance": 9},
    "alibi": {"kind": "alibi"},
    "alibi rounded": {"kind": "alibi", "bias_max": 4.7, "scaled": True, "round": "bf16"},
    "distance": {"kind": "distance", "max_distance": 4},
    "relative": {"kind": "relative", "max_distance": 3, "values": True},
    "relative per head": {"kind": "relative", "max_distance": 5, "per_head": True, "values": True, "scaled": False},
    "relative_global": {"kind": "relative_global", "max_len": 12},
    "disentangled": {"kind": "disentangled", "n_buckets": 6, "max_distance": 9, "norm": "layer_norm"},
    "disentangled alone": {"kind": "disentangled", "n_buckets": 4, "max_distance": 8, "share_projections": False},
}
SPECS = [(name, mask) for name in BIASES for mask in ("causal", "full") if (name, mask) != ("alibi rounded", "full")]


def placed(name, mask):
    attention = {"kind": "multi_head", "n_heads": 4, "n_kv_heads": 2, "mask": mask, "scores": {"bias": BIASES[name]}}
    blocks = {"embed": TOKENS, "attend": attention, "head": {"kind": "lm_head", "vocab_size": VOCAB}}
    return Placed("", 0, "", "", document(blocks))


def rows(length):
    """Tokens with no pads, pads on the left, on the right, and between; as many as leave a token."""
    mask = np.ones((4, length), np.int64)
    mask[1, : length // 2] = 0
    mask[2, (length + 1) // 2 :] = 0
    mask[3, 1 : length - 1] = np.arange(max(0, length - 2)) % 3 == 1
    return {"input_ids": np.random.default_rng(length).integers(0, VOCAB, (4, length)), "attention_mask": mask}


def in_steps(session, given, cuts):
    """Scores of the last token of a first part, and of every later one."""
    ids, mask = given["input_ids"], given["attention_mask"]
    first = session.start({"input_ids": ids[:, : cuts[0]], "attention_mask": mask[:, : cuts[0]]})[:, None]
    later = [session.step(ids[:, a:b], mask[:, a:b]) for a, b in pairwise(cuts)]
    return np.concatenate([first, *later], axis=1)


@pytest.mark.ort
@pytest.mark.parametrize(("name", "mask"), SPECS, ids=[f"{mask} {name}" for name, mask in SPECS])
def test_as_defined_at_every_length(name, mask):
    model = placed(name, mask)
    sessions = {"torch": model.torch_session(), "onnx": model.ort_session(optimise=True)}
    for length in LENGTHS:
        given = rows(length)
        expected, valid = interpret(model.data, model.weights, given)[0]["logits"]
        for backend, session in sessions.items():
            found = session.run(given)["logits"]
            assert relative_error(found, expected, valid) < TOLERANCE, (backend, length)
            if mask == "causal":
                start = 1 + length // 3
                found = in_steps(session, given, (*range(start, length, 2), length))
                at = slice(start - 1, None)
                assert relative_error(found, expected[:, at], valid[:, at]) < TOLERANCE, (backend, length, "cached")
