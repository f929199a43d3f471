"""Beam search: wide enough it finds the best of all sequences, and with few beams what Hugging Face finds."""

import itertools

import numpy as np
import pytest
import torch

from flexit.errors import TaskError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.generation.beam import Beams, beam_search, largest
from flexit.runtime.generation.generate import generate
from flexit.runtime.sessions.torch_session import TorchSession
from tests.parity.test_decoders import gpt2, mapped, perturbed
from tests.parity.test_encoders import t5
from tests.sessions import ort_session
from tests.stressed import stressed

VOCAB, LENGTH, EOS = 4, 4, 2
SOURCES = {"source": np.array([[1, 3, 2], [3, 0, 1]]), "source_mask": np.array([[1, 1, 1], [1, 1, 0]])}


def tiny(preset):
    """A model of four tokens whose choices are neither even nor certain."""
    embeds = {"tiny-gpt2": ["embed"], "tiny-t5": ["source"]}[preset]
    spec = load_spec(preset, sets=[f"blocks.{name}.vocab_size={VOCAB}" for name in embeds])
    return stressed(spec)


@pytest.fixture(scope="module", params=["tiny-gpt2", "tiny-t5"])
def model(request):
    return tiny(request.param)


@pytest.fixture(scope="module", params=["torch", pytest.param("ort", marks=pytest.mark.ort)])
def session(request, model, tmp_path_factory):
    if request.param == "torch":
        return TorchSession(model)
    return ort_session(model, tmp_path_factory.mktemp("beams"), optimise=True)


def sources(session):
    """Inputs of an encoder for two rows, the second one padded."""
    other = [entry for entry in session.interface.inputs if entry.group != session.interface.decoded]
    values = {"ids": SOURCES["source"], "mask": SOURCES["source_mask"]}
    return {entry.name: values[entry.role] for entry in other if entry.role in values}


def of_row(others, row):
    return {name: array[row : row + 1] for name, array in others.items()}


def all_sequences():
    """Every sequence of new tokens that ends: by the token that ends it, or by its length."""
    for length in range(1, LENGTH + 1):
        for tokens in itertools.product(range(VOCAB), repeat=length):
            if EOS not in tokens[:-1] and (tokens[-1] == EOS or length == LENGTH):
                yield tokens


def log_probabilities(session, prompt, others):
    """Of all sequences after a prompt, from runs of the whole without a cache."""
    ids, _ = session.interface.require_decoded()
    found = {}
    for length, group in itertools.groupby(all_sequences(), key=len):
        sequences = list(group)
        repeated = {name: np.repeat(array, len(sequences), axis=0) for name, array in others.items()}
        logits = session.run({ids.name: [[*prompt, *tokens] for tokens in sequences], **repeated})["logits"]
        logits = logits[:, len(prompt) - 1 : -1].astype(np.float64)
        logs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        for row, tokens in enumerate(sequences):
            found[tokens] = sum(logs[row, at, tokens[at]] for at in range(length))
    return found


def test_enough_beams_find_the_best_of_all(session):
    prompts, others = [[3, 1, 0], [1]], sources(session)
    logs = [log_probabilities(session, prompt, of_row(others, row)) for row, prompt in enumerate(prompts)]
    for penalty in (1.0, 0.0, 2.5, -0.5):
        beams = Beams(n_beams=VOCAB**LENGTH, length_penalty=penalty, n_best=7)
        found = beam_search(session, prompts, max_new_tokens=LENGTH, beams=beams, eos_id=EOS, others=others)
        lengths = set()
        for row in range(len(prompts)):
            scores = {tokens: total / len(tokens) ** penalty for tokens, total in logs[row].items()}
            best = sorted(scores, key=scores.__getitem__, reverse=True)[:7]
            assert [each.tokens for each in found[row]] == best
            assert np.allclose([each.score for each in found[row]], [scores[tokens] for tokens in best], rtol=1e-4)
            lengths |= {len(tokens) for tokens in best}
        assert len(lengths) > 1 or penalty > 0  # which prefers the longest


def test_a_row_finds_what_it_finds_alone(session):
    prompts, others, beams = [[3, 1, 0], [1]], sources(session), Beams(n_beams=3, n_best=3)
    together = beam_search(session, prompts, max_new_tokens=9, beams=beams, eos_id=EOS, others=others)
    for row, prompt in enumerate(prompts):
        alone = beam_search(session, [prompt], max_new_tokens=9, beams=beams, eos_id=EOS, others=of_row(others, row))
        assert [each.tokens for each in alone[0]] == [each.tokens for each in together[row]]
        assert np.allclose([each.score for each in alone[0]], [each.score for each in together[row]], rtol=1e-4)


def decoder():
    torch.manual_seed(0)
    theirs, spec, rules = gpt2()
    ours = to_torch(spec, mapped(to_torch(spec), perturbed(theirs).state_dict(), rules)).eval()
    ids = torch.tensor([[7, 3, 90, 41, 12], [0, 0, 8, 55, 2], [0, 0, 0, 0, 64]])
    mask = (ids > 0).long()
    prompts = [[int(token) for token in row if token > 0] for row in ids]
    return theirs, TorchSession(ours), {"input_ids": ids, "attention_mask": mask}, prompts, {}


def encoder_decoder():
    torch.manual_seed(0)
    theirs, ours = t5()
    ids = torch.randint(1, 97, (3, 8), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    return theirs, TorchSession(ours), {**inputs, "decoder_start_token_id": 0}, [[0]] * 3, inputs


@pytest.fixture(scope="module", params=[decoder, encoder_decoder], ids=lambda make: make.__name__)
def pair(request):
    return request.param()


SEARCHES = [
    {"num_beams": 1 + 1},
    {"num_beams": 4, "num_return_sequences": 4},
    {"num_beams": 5, "num_return_sequences": 3, "length_penalty": 0.0},
    {"num_beams": 4, "num_return_sequences": 2, "length_penalty": 2.0},
    {"num_beams": 3, "num_return_sequences": 3, "length_penalty": -1.0},
    {"num_beams": 4, "num_return_sequences": 2, "repetition_penalty": 1.4},
]


@pytest.mark.parametrize("eos", [(), (11,), (5, 11, 17, 20, 33)], ids=["no end", "one end", "five ends"])
@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_as_in_hugging_face(pair, search, eos):
    theirs, session, inputs, prompts, others = pair
    likely = eos_like(pair, len(eos))
    expected = theirs.generate(
        **inputs, **search, max_new_tokens=10, do_sample=False, eos_token_id=likely or None, pad_token_id=0,
        output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    n_best = search.get("num_return_sequences", 1)
    beams = Beams(
        n_beams=search["num_beams"], n_best=n_best, length_penalty=search.get("length_penalty", 1.0),
        repetition_penalty=search.get("repetition_penalty", 1.0),
    )  # fmt: skip
    found = beam_search(session, prompts, max_new_tokens=10, beams=beams, eos_id=likely, others=others)
    start = 1 if others else inputs["input_ids"].shape[1]
    sequences, scores = expected.sequences[:, start:].tolist(), expected.sequences_scores.tolist()
    flat = [each for row in found for each in row]
    assert len(flat) == len(sequences)
    for ours, tokens, score in zip(flat, sequences, scores, strict=True):
        assert list(ours.tokens) == tokens[: len(ours.tokens)]
        assert set(tokens[len(ours.tokens) :]) <= {0, *likely[:1]}  # what they fill the rest with
        assert ours.score == pytest.approx(score, rel=1e-4)


def test_those_ends_are_met(pair):
    _, session, _, prompts, others = pair
    ends, beams = eos_like(pair, 1), Beams(n_beams=4, n_best=4)
    found = beam_search(session, prompts, max_new_tokens=10, beams=beams, eos_id=ends, others=others)
    assert len({len(each.tokens) for row in found for each in row}) > 1


def eos_like(pair, count):
    """Tokens that searches come upon, so that sequences do end before their length."""
    _, session, _, prompts, others = pair
    found = beam_search(session, prompts, max_new_tokens=10, beams=Beams(n_beams=5, n_best=5), others=others)
    tokens = [token for row in found for each in row for token in each.tokens[2:] if token]
    return sorted(set(tokens), key=lambda token: -tokens.count(token))[:count]


def test_one_beam_is_greedy(pair):
    _, session, _, prompts, others = pair
    greedy = generate(session, prompts, max_new_tokens=8, others=others)
    found = beam_search(session, prompts, max_new_tokens=8, beams=Beams(n_beams=1), others=others)
    assert [list(row[0].tokens) for row in found] == greedy


def test_more_beams_find_better_sequences(pair):
    _, session, _, prompts, others = pair
    scores = []
    for n_beams in (1, 8):
        beams = Beams(n_beams=n_beams)
        found = beam_search(session, prompts, max_new_tokens=8, beams=beams, others=others)
        scores.append([row[0].score for row in found])
    assert any(wide > narrow for narrow, wide in zip(*scores, strict=True))


@pytest.mark.parametrize("count", [1, 2, 7, 30, 31, 99])
def test_the_largest_of_many(count):
    """In the order of a stable sort, equal ones and tokens that cannot be among them."""
    draw = np.random.default_rng(0)
    for values in (draw.integers(0, 5, 30) / 4, draw.standard_normal(30), np.where(np.arange(30) % 3, -np.inf, 1.0)):
        assert largest(values, count).tolist() == np.argsort(-values, kind="stable")[:count].tolist()


def test_what_ends_a_sequence_by_its_tokens():
    """As a token that ends it does; with enough beams, all that end so are found where they end."""
    session = TorchSession(tiny("tiny-gpt2"))
    beams = Beams(n_beams=VOCAB**3, n_best=VOCAB**3)
    found = beam_search(
        session, [[1]], max_new_tokens=3, beams=beams, ends=lambda row, tokens: tuple(tokens[-2:]) == (0, 3)
    )[0]
    expected = {(0, 3)} | {each for each in itertools.product(range(VOCAB), repeat=3) if each[:2] != (0, 3)}
    assert {each.tokens for each in found} == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"n_beams": 0}, {"n_beams": 2.0}, {"n_beams": 10_001}, {"n_beams": 3, "n_best": 4}, {"n_beams": 3, "n_best": 0},
        {"n_beams": 2, "length_penalty": float("nan")}, {"n_beams": 2, "length_penalty": 1e6},
        {"n_beams": 2, "repetition_penalty": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_out_of_range(settings):
    with pytest.raises(TaskError, match="is out of range") as caught:
        Beams(**settings)
    assert caught.value.code == "FX2003"
    assert caught.value.problems[0].path == list(settings)[-1]


def test_prompts_are_refused_as_in_generation():
    session = TorchSession(tiny("tiny-gpt2"))
    for prompts, new in (([[]], 3), ([], 3), ([[1]], 0), ([["a"]], 3)):
        with pytest.raises(TaskError) as caught:
            beam_search(session, prompts, max_new_tokens=new, beams=Beams(n_beams=2))
        assert caught.value.code == "FX2003"
    encoder = TorchSession(to_torch(load_spec("tiny-bert-classifier")))
    with pytest.raises(TaskError, match="cannot be decoded"):
        beam_search(encoder, [[1]], max_new_tokens=2, beams=Beams(n_beams=2))
