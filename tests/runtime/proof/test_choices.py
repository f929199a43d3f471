"""Choices of tokens agree in both sessions, drawn and searched, where they are not too close to call; few may be."""

import numpy as np
import pytest
import torch

from flexit.ir.io.load import load_spec
from flexit.runtime.generation.beam import Beams, searches_of
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.proof.choices import beam_margin, margins, sampled, searched
from flexit.runtime.proof.prove import MOST_INCONCLUSIVE
from flexit.runtime.sessions.torch_session import TorchSession
from tests.sessions import ort_session
from tests.stressed import stressed as on_stress_weights

TOLERANCE = 5e-6
"""What fp32 keeps in models this small; a draw from many tokens has edges everywhere."""
SAMPLINGS = [
    Sampling(),
    Sampling(repetition_penalty=1.3),
    Sampling(temperature=1.0, seed=1),
    Sampling(temperature=0.8, top_k=9, seed=2),
    Sampling(temperature=1.2, top_p=0.8, seed=3),
    Sampling(temperature=1.2, min_p=0.05, seed=4),
    Sampling(temperature=0.9, top_k=20, top_p=0.9, min_p=0.02, repetition_penalty=1.2, seed=5),
]
BEAMS = [Beams(n_beams=2), Beams(n_beams=5, length_penalty=0.5), Beams(n_beams=4, repetition_penalty=1.2)]


def stressed(preset):
    """On stress weights, except that no row of a token table is small: their scores would all be close to 0."""
    module = on_stress_weights(load_spec(preset))
    for path, table in module.named_parameters():
        if path.endswith("tokens.weight"):
            table.data = torch.from_numpy(np.random.default_rng(8).standard_normal(table.shape).astype(np.float32))
    return module


@pytest.fixture(scope="module", params=["tiny-gpt2", "tiny-t5"])
def sessions(request, tmp_path_factory):
    """ONNX Runtime and PyTorch on the same weights."""
    module = stressed(request.param)
    return ort_session(module, tmp_path_factory.mktemp("choices"), optimise=True), TorchSession(module)


def inputs(sessions):
    draw = np.random.default_rng(0)
    prompts = [list(draw.integers(0, 90, 1 + row % 5)) for row in range(12)]
    others = [e for e in sessions[0].interface.inputs if e.group != sessions[0].interface.decoded and e.role == "ids"]
    return prompts, {entry.name: draw.integers(0, 90, (len(prompts), 6)) for entry in others}


@pytest.mark.ort
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_same_tokens_in_both(sessions, sampling):
    prompts, others = inputs(sessions)
    tokens = sampled(sessions, prompts, sampling=sampling, max_new_tokens=20, tolerance=TOLERANCE, others=others)
    assert tokens.compared == 12 * 20
    assert tokens.different == 0
    assert tokens.inconclusive <= MOST_INCONCLUSIVE * tokens.compared


@pytest.mark.ort
@pytest.mark.parametrize("beams", BEAMS, ids=str)
def test_the_same_beams_in_both(sessions, beams):
    prompts, others = inputs(sessions)
    steps = searched(
        sessions, prompts, beams=beams, max_new_tokens=12, tolerance=TOLERANCE, eos_id=17, others=others
    )  # fmt: skip
    assert steps.compared > 12 * 4
    assert steps.different == 0
    assert steps.inconclusive <= MOST_INCONCLUSIVE * steps.compared


class Off(TorchSession):
    """Scores that are off by a random part of the largest one."""

    part = 0.0

    def start(self, inputs):
        self.draw = np.random.default_rng(3)
        return self._off(super().start(inputs))

    def step(self, tokens, mask=None, *, others=None):
        return self._off(super().step(tokens, mask, others=others))

    def _off(self, scores):
        return scores + self.draw.choice([-1, 1], scores.shape) * self.part * np.abs(scores).max()


@pytest.mark.slow
@pytest.mark.parametrize("part", [1e-3, 1e-1])
def test_what_differs_is_found_or_was_too_close(part):
    """Errors within the tolerance change only what is called too close; larger ones are found."""
    module = stressed("tiny-gpt2")
    off = Off(module)
    off.part = part
    pair = (off, TorchSession(module))
    prompts, others = inputs(pair)
    within, beyond = 0, 0
    for sampling in SAMPLINGS:
        common = {"sampling": sampling, "max_new_tokens": 20, "others": others}
        assert sampled(pair, prompts, tolerance=1.01 * part, **common).different == 0
        exact = sampled(pair, prompts, tolerance=0.0, **common)
        within, beyond = within + exact.different, beyond + exact.compared
    assert 0 < within < beyond  # of what was excused some did differ
    beyond = 0
    for beams in BEAMS:
        common = {"beams": beams, "max_new_tokens": 12, "eos_id": 17, "others": others}
        assert searched(pair, prompts, tolerance=1.01 * part, **common).different == 0
        beyond += searched(pair, prompts, tolerance=0.0, **common).different
    assert beyond > 0


def nearest(scores, sampling, *, step, seen):
    """The smallest of many errors of one size that changes a choice, by trying: sizes grow until one does."""
    draw = np.random.default_rng(7)
    chosen = sampling.choose(scores, step=step, seen=seen)
    for size in np.geomspace(1e-3, 10, 25):
        for _ in range(16):
            moved = scores + size * draw.choice([-1.0, 1.0], scores.shape)
            if sampling.choose(moved, step=step, seen=seen)[0] != chosen[0]:
                return size
    return np.inf


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_no_error_below_half_the_margin_changes_a_choice(sampling):
    draw = np.random.default_rng(1)
    penalty = max(sampling.repetition_penalty, 1 / sampling.repetition_penalty)
    tight = []
    for step in range(12):
        scores = draw.standard_normal((1, 12)) * 2
        seen = draw.random((1, 12)) < 0.3
        margin = margins(scores, sampling, step=step, seen=seen)[0]
        least = nearest(scores, sampling, step=step, seen=seen)
        assert 2 * penalty * least >= margin
        tight.append(2 * least < 6 * margin)
    assert np.mean(tight) > 0.3  # and it is not much too cautious


def test_the_margin_of_a_search_is_where_it_changes():
    """By hand: two beams, a vocabulary of three, the second and third candidates close."""
    search = searches_of([[0]], Beams(n_beams=2), eos_id=2, ends=None)[0]
    scores = np.log(np.array([[0.5, 0.26, 0.24]]))
    assert beam_margin(search, scores, last=False) == pytest.approx(np.log(0.26 / 0.24))
    search.advance(scores, last=False)
    assert [each.tokens for each in search.running] == [(0,), (1,)]
    assert search.finished == []


@pytest.mark.parametrize("limit", [{"top_k": 2}, {"top_p": 0.85}], ids=str)
def test_the_last_that_stays_and_the_next_may_change_places(limit):
    """Two scores that are nearly equal at the edge: which of them stays, and may be drawn, is open."""
    first, second = np.array([[3.0, 1.0, 1.0 - 1e-6, -2.0]]), np.array([[3.0, 1.0 - 1e-6, 1.0, -2.0]])
    chosen = set()
    for step in range(30):
        sampling = Sampling(temperature=1.0, seed=2, **limit)
        assert margins(first, sampling, step=step)[0] <= 1.01e-6
        chosen |= {(sampling.choose(first, step=step)[0], sampling.choose(second, step=step)[0])}
    assert chosen == {(0, 0), (1, 2)}


def test_a_token_that_is_left_out_for_good_is_no_edge():
    """Scores of -inf beside each other are no margin of not-a-number."""
    scores = np.array([[3.0, 1.0, -np.inf, -np.inf]])
    for sampling in (Sampling(temperature=1.0, top_k=2), Sampling(temperature=1.0, top_k=3, seed=1)):
        found = margins(scores, sampling, step=0)
        assert found[0] > 0
        assert not np.isnan(found).any()
