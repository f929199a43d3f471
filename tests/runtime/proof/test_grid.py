"""The grid of a proof: its sizes, its pads, and the position ids that it passes."""

import numpy as np
import pytest

from flexit.ir.analysis.cost import LARGEST_CASE
from flexit.ir.analysis.limits import limits_of, positions_taken
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec, parse_spec
from flexit.runtime.proof.grid import Case, cases, inputs_for

LEARNED = """
flexit: 1
name: placed
blocks:
  embed: {kind: embedding, vocab_size: 20, d_model: 8, position: {kind: learned, max_len: 30, offset: 2, ids: IDS}}
  mixed: {kind: residual, norm: rms_norm, norm_placement: pre, body: {kind: multi_head, n_heads: 2, mask: causal}}
  head: {kind: lm_head, tied_to: embed}
"""


def inputs(program, case):
    return inputs_for(program, case, np.random.default_rng(0))


def test_the_cost_of_an_export_is_that_of_the_largest_case():
    found = list(cases(compile_spec(load_spec("tiny-llama"))))
    assert (max(case.batch for case in found), max(case.seq + case.past for case in found)) == LARGEST_CASE


def test_pads_are_left_right_and_between():
    mask = inputs(compile_spec(load_spec("tiny-llama")), Case(5, 17, 37))["attention_mask"]
    assert mask[0].all()
    assert not mask[1, 0] and mask[1, -1]
    assert mask[2, 0] and not mask[2, -1]
    assert mask[3, [0, -1]].all()
    for part in (mask[3, :37], mask[3, 37:]):  # what is cached, and what is new
        tokens, pads = np.flatnonzero(part), np.flatnonzero(part == 0)
        assert ((pads > tokens[0]) & (pads < tokens[-1])).sum() > 3


def test_position_ids_are_passed_where_the_model_takes_them():
    program = compile_spec(load_spec("tiny-llama"))
    assert positions_taken(program) == ("position_ids",)
    placed = [case for case in cases(program) if case.placed]
    assert {(case.batch, case.seq, case.past) for case in placed} == {(1, 1, 0), (2, 2, 0), (5, 17, 0)}
    given = inputs(program, Case(5, 17, 0, placed=True))["position_ids"]
    steps = np.diff(given, axis=1)
    assert (steps[::2] == 1).all() and (given[::2, 0] > 0).any()
    assert not (steps[1::2] == 1).all()
    assert "position_ids" not in inputs(program, Case(5, 17, 0))


def test_position_ids_stay_within_the_table():
    program = compile_spec(parse_spec(LEARNED.replace("IDS", "rank")))
    assert limits_of(program).positions == {"position_ids": 30}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        given = inputs_for(program, Case(5, 17, 0, placed=True), rng)["position_ids"]
        assert given.min() >= 0
        assert given.max() < 30


@pytest.mark.parametrize("name", ["slots", "tiny-bert-classifier", "tiny-t5"])
def test_none_are_passed_where_the_session_would_refuse_them(name):
    spec = parse_spec(LEARNED.replace("IDS", "slot")) if name == "slots" else load_spec(name)
    program = compile_spec(spec)
    assert positions_taken(program) == ()
    assert not any(case.placed for case in cases(program))
