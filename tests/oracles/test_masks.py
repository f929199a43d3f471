"""Every mask against its definition, pair by pair, on rows of every length up to 12: whole, padded, cached, exported.

The attention of the model weighs all keys that it sees alike, and value j is a one in channel j for the key in slot j.
So its result has no zero exactly where the mask lets through, with nothing of attention left to be wrong.
"""

import json
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest

from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.sessions.torch_session import TorchSession
from tests.sessions import ort_session

LONGEST = 12
SIZES = {"window": (None, 1, 3), "chunk": (None, 1, 4), "keep_first": (0, 2)}
SPACED = [
    {"kind": kind, "window": window, "chunk": chunk, "keep_first": first}
    for kind, window, chunk, first in product(("full", "causal"), *SIZES.values())
    if not first or window or chunk
]
PREFIX = [{"kind": "prefix", "window": window} for window in (None, 1, 3)]
MASKS = [*SPACED, *PREFIX]
CACHED = [mask for mask in MASKS if mask["kind"] != "full"]


def named(mask):
    return " ".join(f"{key} {value}" for key, value in mask.items() if value)


@cache
def model(text):
    """A decoder whose logits are the attention's result."""
    heads = {"kind": "multi_head", "n_heads": 1, "mask": json.loads(text)}
    blocks = {"attention": heads, "head": {"kind": "lm_head", "vocab_size": LONGEST}}
    inputs = {"inputs_embeds": {"kind": "sequence", "width": LONGEST}}
    spec = parse_spec(json.dumps({"flexit": 1, "name": "masks", "inputs": inputs, "blocks": blocks}))
    one, none = np.eye(LONGEST, dtype=np.float32), np.zeros((LONGEST, LONGEST), np.float32)
    made = {
        "attention.q_proj.weight": none, "attention.k_proj.weight": none, "attention.v_proj.weight": one,
        "attention.o_proj.weight": one, "head.table.weight": one,
    }  # fmt: skip
    return to_torch(spec, made)


def batch(length):
    """Rows without pads, with pads left, right, between and everywhere, and with one token alone."""
    mask = np.ones((6, length), np.int64)
    mask[1, : length // 3] = 0
    mask[2, length - length // 4 :] = 0
    mask[3, 1::3] = 0
    mask[4, [0, length // 2, -1]] = 0
    mask[5, :-1] = 0
    return mask


def prefixes(mask):
    """None, the first token, some, all but the last and more than there are."""
    return np.array([0, 1, 3, 2, max(int(mask[4].sum()) - 1, 0), 99])


def visible(mask, unpadded, prefix, *, q, k):
    """Whether the query in slot q sees the key in slot k of one row."""
    rank_q, rank_k = int(unpadded[:q].sum()), int(unpadded[:k].sum())
    if not unpadded[k]:
        return False
    window, chunk, causal = mask.get("window"), mask.get("chunk"), mask["kind"] != "full"
    if mask["kind"] == "prefix" and rank_q < prefix and rank_k < prefix:
        return True
    if causal and k > q:
        return False
    near = window is None or (rank_q - rank_k < window if causal else abs(rank_q - rank_k) <= window)
    near = near and (chunk is None or rank_q // chunk == rank_k // chunk)
    return near or rank_k < mask.get("keep_first", 0)


def defined(mask, unpadded, lengths):
    rows, length = unpadded.shape
    pairs = np.zeros((rows, length, length), bool)
    for row, q, k in np.ndindex(pairs.shape):
        pairs[row, q, k] = visible(mask, unpadded[row], lengths[row], q=q, k=k)
    return pairs


def inputs(mask, unpadded, stop=None):
    rows, length = unpadded.shape
    embeds = np.broadcast_to(np.eye(length, LONGEST, dtype=np.float32), (rows, length, LONGEST))
    given = {"inputs_embeds": embeds[:, :stop], "attention_mask": unpadded[:, :stop]}
    return given | ({"prefix_lengths": prefixes(unpadded)} if mask["kind"] == "prefix" else {})


def agrees(scores, expected, unpadded):
    """Exactly the visible keys are there, in the rows of all queries that are no padding."""
    seen = scores[..., : expected.shape[2]] > 1e-6
    return np.array_equal(seen[unpadded], expected[unpadded])


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Both sessions of a mask, made once."""

    @cache
    def both(text):
        module = model(text)
        return TorchSession(module), ort_session(module, tmp_path_factory.mktemp("masks"), optimise=True)

    return lambda mask: both(json.dumps(mask))


@pytest.mark.ort
@pytest.mark.parametrize("mask", MASKS, ids=named)
def test_whole(mask, sessions):
    for session, length in product(sessions(mask), range(1, LONGEST + 1)):
        unpadded = batch(length)
        scores = session.run(inputs(mask, unpadded))["logits"]
        assert agrees(scores, defined(mask, unpadded, prefixes(unpadded)), unpadded == 1), length


@pytest.mark.ort
@pytest.mark.parametrize("mask", CACHED, ids=named)
def test_cached(mask, sessions):
    """A prompt with the whole prefix, then one token, then the rest."""
    for session, length in product(sessions(mask), range(3, LONGEST + 1)):
        unpadded = batch(length)
        start = length // 2
        lengths = np.minimum(prefixes(unpadded), unpadded[:, :start].sum(1))
        expected = defined(mask, unpadded, lengths)
        given = inputs(mask, unpadded)
        scores = [session.start(inputs(mask, unpadded, start))[:, None]]
        for begin, stop in ((start, start + 1), (start + 1, length)):
            if begin < stop:
                scores.append(session.step(given["inputs_embeds"][:, begin:stop], unpadded[:, begin:stop]))
        found, at = np.concatenate(scores, 1), slice(start - 1, length)
        assert agrees(found, expected[:, at], unpadded[:, at] == 1), length


@pytest.mark.ort
def test_a_wrong_mask_would_be_seen(sessions):
    unpadded = batch(LONGEST)
    for mask, other in pairwise(MASKS):
        scores = sessions(mask)[0].run(inputs(mask, unpadded))["logits"]
        assert not agrees(scores, defined(other, unpadded, prefixes(unpadded)), unpadded == 1)
