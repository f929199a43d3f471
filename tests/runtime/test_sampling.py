"""Settings of sampling against Hugging Face's logits processors, in the order in which its ``generate`` has them."""

import numpy as np
import pytest
import torch
import transformers
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from flexit.errors import TaskError
from flexit.runtime.generation.sampling import Sampling
from flexit.runtime.probabilities import log_probabilities, probabilities

VOCAB = 50
ALL_STAY = [
    {"temperature": 1.0},
    {"temperature": 1.0, "top_k": 10 * VOCAB},
    {"temperature": 1.0, "top_p": 1.0},
    {"temperature": 1.0, "min_p": 0.0},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 0.7, "repetition_penalty": 0.6},
]
SOME_GO = [
    {"temperature": 0.3, "top_k": 7},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 1.7, "top_p": 0.05},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 2.0, "min_p": 1.0},
    {"temperature": 1.4, "top_k": 30, "top_p": 0.8, "min_p": 0.02, "repetition_penalty": 1.2},
    {"temperature": 0.8, "top_k": 12, "top_p": 0.6},
    {"temperature": 1.3, "top_p": 0.95, "min_p": 0.05},
]


def scores(rows=6, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, VOCAB)) * 3


def theirs(settings, ids, raw):
    """The processors that Hugging Face's own ``generate`` puts together for these settings."""
    config = transformers.GPT2Config(vocab_size=VOCAB, n_embd=8, n_layer=1, n_head=1)
    model = transformers.GPT2LMHeadModel(config)
    wanted = transformers.GenerationConfig(do_sample=True, **{"top_k": 0, **settings})
    processors = model._get_logits_processor(wanted, input_ids_seq_length=ids.shape[1], device="cpu", model_kwargs={})
    return processors(torch.from_numpy(ids), torch.from_numpy(raw)).numpy()


@pytest.mark.parametrize("settings", [*ALL_STAY, *SOME_GO], ids=str)
def test_as_in_hugging_face(settings):
    raw = scores()
    ids = np.random.default_rng(1).integers(0, VOCAB, (len(raw), 9))
    seen = np.zeros_like(raw, bool)
    np.put_along_axis(seen, ids, True, axis=1)
    expected = theirs(settings, ids, raw)
    found = Sampling(**settings).left(raw, seen=seen)
    assert np.array_equal(np.isinf(found), np.isinf(expected))
    assert np.allclose(found, expected, rtol=1e-12, atol=0)
    assert np.isinf(found).any() == (settings not in ALL_STAY)


def test_the_order_matters_and_is_theirs():
    """Each processor alone, one after the other, by hand."""
    raw, ids = scores(seed=3), np.random.default_rng(4).integers(0, VOCAB, (6, 20))
    seen = np.zeros_like(raw, bool)
    np.put_along_axis(seen, ids, True, axis=1)
    steps = [
        RepetitionPenaltyLogitsProcessor(1.5), TemperatureLogitsWarper(0.6), TopKLogitsWarper(9), TopPLogitsWarper(0.7),
        MinPLogitsWarper(0.2),
    ]  # fmt: skip

    def through(order):
        return LogitsProcessorList(order)(torch.from_numpy(ids), torch.from_numpy(raw)).numpy()

    settings = {"temperature": 0.6, "top_k": 9, "top_p": 0.7, "min_p": 0.2, "repetition_penalty": 1.5}
    found = Sampling(**settings).left(raw, seen=seen)
    assert np.allclose(found, through(steps), rtol=1e-12, atol=0)
    assert not np.array_equal(np.isinf(found), np.isinf(through([*steps[3:], *steps[:3]])))


def test_draws_have_the_probabilities():
    raw = np.array([[1.0, 3.0, 2.0, -1.0, 2.5]])
    sampling = Sampling(temperature=0.9, top_p=0.9, seed=11)
    drawn = np.array([sampling.choose(raw, step=step)[0] for step in range(20_000)])
    expected = probabilities(sampling.left(raw))[0]
    counts = np.bincount(drawn, minlength=5) / len(drawn)
    assert (counts[expected == 0] == 0).all()
    assert np.abs(counts - expected).max() < 0.012  # 3.5 standard deviations


def test_the_best_token_too_is_penalised_for_being_there():
    raw = np.array([[2.0, 1.9, -3.0]])
    seen = np.array([[True, False, False]])
    assert Sampling().choose(raw, step=0, seen=seen).tolist() == [0]
    assert Sampling(repetition_penalty=1.2).choose(raw, step=0, seen=seen).tolist() == [1]
    negative = np.array([[-1.0, -1.1]])
    assert Sampling(repetition_penalty=1.2).choose(negative, step=0, seen=np.array([[True, False]])).tolist() == [1]


def test_equal_scores_at_the_edge_all_stay():
    left = Sampling(temperature=1.0, top_k=2).left(np.array([[1.0, 0.0, 1.0, 1.0]]))
    assert np.isfinite(left).tolist() == [[True, False, True, True]]


def test_a_draw_is_the_same_in_every_row():
    """It depends on seed and step alone, and is computed once for them."""
    raw, sampling = np.repeat(scores(rows=1), 40, axis=0), Sampling(temperature=1.0, seed=5)
    drawn = {step: sampling.choose(raw, step=step) for step in range(20)}
    assert all(len(set(tokens)) == 1 for tokens in drawn.values())
    assert len({int(tokens[0]) for tokens in drawn.values()}) > 3


def test_probabilities_of_scores_that_overflow():
    raw = np.array([[1e4, 1e4 - 1, -1e4], [0.0, -np.inf, 0.0]], np.float32)
    expected = [[1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0], [0.5, 0, 0.5]]
    assert np.allclose(probabilities(raw), expected, rtol=1e-12)
    assert probabilities(raw).dtype == log_probabilities(raw).dtype == np.float64
    assert np.allclose(log_probabilities(raw)[0], [*np.log(expected[0][:2]), np.log(expected[0][0]) - 2e4], rtol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"top_p": 0.0}, {"top_p": 1.01}, {"top_p": float("nan")}, {"min_p": -0.1}, {"min_p": 1.5}, {"top_k": 2.5},
        {"top_k": True}, {"repetition_penalty": 0}, {"repetition_penalty": -1.0}, {"repetition_penalty": "1"},
        {"repetition_penalty": float("inf")}, {"repetition_penalty": 1e-320}, {"repetition_penalty": 1e7},
        {"temperature": "hot"}, {"seed": 1.5},
    ],
    ids=str,
)  # fmt: skip
def test_out_of_range(settings):
    with pytest.raises(TaskError, match="is out of range") as caught:
        Sampling(**{"temperature": 1.0, **settings})
    assert caught.value.code == "FX2003"
    assert caught.value.problems[0].path == next(iter(settings))


@pytest.mark.parametrize("settings", [{"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.5}], ids=str)
def test_what_changes_nothing_is_refused(settings):
    with pytest.raises(TaskError, match="changes nothing at temperature 0") as caught:
        Sampling(**settings)
    assert caught.value.problems[0].path == next(iter(settings))
