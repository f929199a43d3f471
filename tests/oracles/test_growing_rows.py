"""Rotations that depend on the length of the row: decoding step by step across the original length.

In a model of one layer no cached value depends on the length, keys being cached unrotated. So each step must say what
a whole run of the row so far says at its end: in both backends, padded, and at positions that the caller chooses.
"""

import json
from functools import cache

import numpy as np
import pytest
import torch

from flexit.ir.analysis.dependence import revises
from flexit.ir.io.load import parse_spec
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.sessions.torch_session import TorchSession
from tests.sessions import ort_session
from tests.stressed import stressed

VOCAB, LENGTH = 23, 12
LISTS = {"short_factor": [1.0, 1.5, 2.0, 3.0], "long_factor": [2.0, 5.0, 7.0, 9.0]}
SCALINGS = {
    "dynamic": {"kind": "dynamic", "factor": 3.0, "original_max_len": 7},
    "longrope": {"kind": "longrope", **LISTS, "original_max_len": 7, "factor": 4.0},
}


@cache
def model(scaling, layers=1, at="before_rotary"):
    attention = {
        "kind": "multi_head", "n_heads": 2, "head_dim": 8, "mask": "causal", "qk": {"norm": "rms_norm", "at": at},
        "rotary": {"theta": 30.0, "scaling": SCALINGS[scaling]},
    }  # fmt: skip
    layer = {
        "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre", "attention": attention,
        "feed_forward": {"kind": "mlp", "d_ff": 32},
    }  # fmt: skip
    blocks = {
        "embed": {"kind": "embedding", "vocab_size": VOCAB, "d_model": 16},
        "decoder": {"kind": "stack", "n_layers": layers, "layer": layer, "final_norm": True},
        "head": {"kind": "lm_head", "tied_to": "embed"},
    }
    spec = parse_spec(json.dumps({"flexit": 1, "name": "growing", "blocks": blocks}))
    return stressed(spec)


def rows():
    """Ids and a mask: whole, padded left, padded right and between."""
    ids = np.random.default_rng(0).integers(0, VOCAB, (3, LENGTH))
    mask = np.ones((3, LENGTH), np.int64)
    mask[1, :3] = 0
    mask[2, [4, 5, LENGTH - 1]] = 0
    return ids, mask


def stepped(session, ids, mask):
    """Logits at the end of each prefix from 4 tokens on, without what lies after pads."""
    found = [session.start({"input_ids": ids[:, :4], "attention_mask": mask[:, :4]})]
    found += [session.step(ids[:, at : at + 1], mask[:, at : at + 1])[:, -1] for at in range(4, LENGTH)]
    return np.stack(found, 1)


def prefixes(session, ids, mask):
    """The same from whole runs."""
    ends = [{"input_ids": ids[:, :stop], "attention_mask": mask[:, :stop]} for stop in range(4, LENGTH + 1)]
    return np.stack([session.run(given)["logits"][:, -1] for given in ends], 1)


@pytest.mark.ort
@pytest.mark.parametrize("at", ["before_rotary", "after_rotary"])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_each_step_is_a_whole_run_of_the_row_so_far(scaling, at, tmp_path):
    module, (ids, mask) = model(scaling, at=at), rows()
    here, there = TorchSession(module), ort_session(module, tmp_path)
    expected, unpadded = prefixes(here, ids, mask), mask[:, 3:] != 0
    for session in (here, there):
        assert relative_error(stepped(session, ids, mask), expected, unpadded) < 1e-5
        assert relative_error(prefixes(session, ids, mask), expected, unpadded) < 1e-5


@pytest.mark.parametrize("scaling", SCALINGS)
def test_earlier_tokens_are_seen_anew_when_a_row_grows(scaling):
    """What the test above would miss if nothing depended on the length."""
    ids, mask = rows()
    whole = TorchSession(model(scaling)).run({"input_ids": ids, "attention_mask": mask})["logits"]
    assert relative_error(stepped(TorchSession(model(scaling)), ids, mask)[0, 0], whole[0, 3]) > 1e-3
    assert revises(model(scaling).program)


def test_rows_that_begin_long_are_decoded_like_whole_ones():
    """With longrope nothing changes any more beyond the original length, however many layers there are."""
    module = model("longrope", layers=3)
    ids = np.random.default_rng(1).integers(0, VOCAB, (2, LENGTH))
    session, whole = TorchSession(module), TorchSession(module).run({"input_ids": ids})["logits"]
    found = [session.start({"input_ids": ids[:, :8]})]
    found += [session.step(ids[:, at : at + 1])[:, -1] for at in range(8, LENGTH)]
    assert relative_error(np.stack(found, 1), whole[:, 7:]) < 1e-5


@pytest.mark.parametrize("scaling", SCALINGS)
def test_cached_keys_keep_the_positions_that_were_passed(scaling):
    """Positions with gaps, passed to the module itself: they decide the length, and those of earlier steps are kept."""
    module, (ids, _) = model(scaling), rows()
    tokens, positions = torch.from_numpy(ids[:1]), torch.tensor([[0, 1, 3, 4, 5, 9, 10, 11, 15, 16, 17, 20]])
    cache_ = module.empty_cache(1)
    with torch.no_grad():
        for start, stop in ((0, 4), (4, 9), (9, 12)):
            part = {"input_ids": tokens[:, start:stop], "position_ids": positions[:, start:stop]}
            step = module(**part, cache=cache_)
            cache_ = step["cache"]
            whole = module(input_ids=tokens[:, :stop], position_ids=positions[:, :stop])
            assert relative_error(step["logits"][:, -1].numpy(), whole["logits"][:, -1].numpy()) < 1e-5
        others = module(input_ids=tokens, position_ids=positions - positions // 9)
    assert relative_error(others["logits"].numpy(), whole["logits"].numpy()) > 1e-3
