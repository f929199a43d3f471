"""Each metric against scikit-learn, scipy, sacrebleu or a definition by hand."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest

from flexit.ir import registry
from flexit.runtime.metric import Labels, Likelihood, Metric, Numbers, Texts, Vectors, faults, those_of
from flexit.runtime.metrics.accuracy import Accuracy
from flexit.runtime.metrics.bits_per_byte import BitsPerByte
from flexit.runtime.metrics.bleu import Bleu
from flexit.runtime.metrics.chrf import Chrf
from flexit.runtime.metrics.entity_f1 import EntityF1, entities
from flexit.runtime.metrics.error_rate import ErrorRate, edit_distance
from flexit.runtime.metrics.exact_match import ExactMatch
from flexit.runtime.metrics.f1 import F1
from flexit.runtime.metrics.pearson import Pearson
from flexit.runtime.metrics.perplexity import Perplexity
from flexit.runtime.metrics.recall import Recall
from flexit.runtime.metrics.spearman import Spearman
from flexit.runtime.metrics.word_error import WordError

NAMES = ("a", "b", "c", "d")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def drawn(seed: int, classes: int = 4, rows: int = 30) -> Labels:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 7, rows)
    wanted = [rng.integers(0, classes, n) for n in lengths]
    found = [np.where(rng.random(len(row)) < 0.6, row, rng.integers(0, classes, len(row))) for row in wanted]
    return Labels(found, wanted, NAMES[:classes])


def texts(*pairs: tuple[str, str]) -> Texts:
    found, wanted = zip(*pairs, strict=True)
    return Texts(found, wanted, [list(map(ord, each)) for each in found], [list(map(ord, each)) for each in wanted])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("average", ["macro", "micro"])
def test_f1_and_accuracy_are_those_of_scikit_learn(seed: int, average: str):
    from sklearn.metrics import accuracy_score, f1_score

    seen = drawn(seed)
    found, wanted = seen.flat()
    if seed == 4:  # a class that is never found, and one that is never wanted
        found, wanted = np.where(found == 3, 0, found), np.where(wanted == 2, 1, wanted)
    seen = Labels([found], [wanted], NAMES)
    assert F1(average=average).of(seen) == pytest.approx(f1_score(wanted, found, average=average))
    assert Accuracy().of(seen) == pytest.approx(accuracy_score(wanted, found))


@pytest.mark.parametrize("seed", range(5))
def test_binary_f1_is_that_of_scikit_learn(seed: int):
    from sklearn.metrics import f1_score

    seen = drawn(seed, classes=2)
    found, wanted = seen.flat()
    assert F1(average="binary").of(seen) == pytest.approx(f1_score(wanted, found))
    assert F1(average="binary", positive="a").of(seen) == pytest.approx(f1_score(wanted, found, pos_label=0))


def test_a_class_that_is_nowhere_has_no_f1():
    seen = Labels([np.array([0, 0])], [np.array([0, 0])], NAMES[:2])
    assert F1(average="binary").of(seen) == 0
    assert F1().of(seen) == 1


@pytest.mark.parametrize("seed", range(5))
def test_correlations_are_those_of_scipy(seed: int):
    from scipy.stats import pearsonr, spearmanr

    rng = np.random.default_rng(seed)
    wanted = rng.integers(0, 6, 40).astype(float)  # with ties
    found = wanted + rng.normal(size=40).round(1)
    seen = Numbers(found, wanted)
    assert Spearman().of(seen) == pytest.approx(spearmanr(found, wanted).statistic, rel=1e-12)
    assert Pearson().of(seen) == pytest.approx(pearsonr(found, wanted).statistic, rel=1e-12)


def test_equal_numbers_correlate_with_nothing():
    seen = Numbers(np.zeros(4), np.arange(4.0))
    assert math.isnan(Spearman().of(seen))
    assert math.isnan(Pearson().of(seen))


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("rows", [5, 1500])
def test_recall_is_what_sorting_finds(k: int, rows: int):
    rng = np.random.default_rng(k)
    ones = rng.normal(size=(rows, 4)).astype(np.float32)
    others = (ones + rng.normal(size=ones.shape)).astype(np.float32)
    cosines = (ones.astype(float) / np.linalg.norm(ones.astype(float), axis=1)[:, None]) @ (
        others.astype(float) / np.linalg.norm(others.astype(float), axis=1)[:, None]
    ).T  # fmt: skip
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    expected = np.mean([row in near for row, near in enumerate(nearest)])
    assert Recall(k=k).of(Vectors(ones, others)) == pytest.approx(expected)


def test_vectors_that_are_all_equal_recall_by_chance():
    ones = np.ones((10, 3))
    assert Recall(k=2).of(Vectors(ones, ones)) == pytest.approx(0.2)


def brute(one: str, other: str) -> int:
    """Edit distance as it is defined, by recursion."""

    @cache
    def least(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        replaced = least(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(replaced, least(i - 1, j) + 1, least(i, j - 1) + 1)

    return least(len(one), len(other))


def test_edit_distance_is_as_defined():
    words = ["", *("".join(each) for length in range(1, 4) for each in itertools.product("ab", repeat=length))]
    for one, other in itertools.product([*words, "kitten"], [*words, "sitting"]):
        assert edit_distance(one, other) == brute(one, other)


def test_error_rates_by_their_units():
    seen = texts(("K AE T", "K AE T S"), ("D AO G", "D AA G"))
    assert ErrorRate(unit="words").of(seen) == pytest.approx(2 / 7)
    assert ErrorRate(unit="characters").of(seen) == pytest.approx((2 + 1) / (8 + 6))
    assert ErrorRate().of(seen) == pytest.approx((2 + 1) / (8 + 6))  # the tokens of the test are characters
    assert [ErrorRate(unit=each).name for each in ("tokens", "words", "characters")] == [
        "token_error_rate", "word_error_rate", "character_error_rate",
    ]  # fmt: skip


def test_exact_match_and_word_error():
    seen = texts(("a", "a"), ("b", "b "), ("c", "c"), ("", ""))
    assert ExactMatch().of(seen) == 0.75
    assert WordError().of(seen) == 0.25


HYPOTHESES = ("The cat sat on the mat .", "He reads a book", "hello World!", "")
REFERENCES = ("the cat is on the mat .", "He reads the book", "Hello world!", "nothing at all")


@pytest.mark.parametrize("settings", [{}, {"lowercase": True}, {"tokenize": "char"}, {"tokenize": "none"}])
def test_bleu_is_that_of_sacrebleu(settings: dict[str, object]):
    import sacrebleu

    seen = texts(*zip(HYPOTHESES, REFERENCES, strict=True))
    expected = sacrebleu.corpus_bleu(list(HYPOTHESES), [list(REFERENCES)], force=True, **settings).score
    assert 0 < Bleu(**settings).of(seen) == pytest.approx(expected)


def test_chrf_is_that_of_sacrebleu():
    import sacrebleu

    seen = texts(*zip(HYPOTHESES, REFERENCES, strict=True))
    for order in (0, 2):
        expected = sacrebleu.corpus_chrf(list(HYPOTHESES), [list(REFERENCES)], word_order=order).score
        assert 0 < Chrf(word_order=order).of(seen) == pytest.approx(expected)


def spans(tags: tuple[str, ...]) -> set[tuple[str, int, int]]:
    """Entities as defined: a B and the longest run of I of its type after it."""
    found: set[tuple[str, int, int]] = set()
    for start, tag in enumerate(tags):
        if tag[0] == "B":
            rest = itertools.takewhile(lambda at: tags[at] == f"I{tag[1:]}", range(start + 1, len(tags)))  # noqa: B023
            found.add((tag[2:], start, start + 1 + len(list(rest))))
    return found


def test_entities_of_every_short_row_are_as_defined():
    for length in range(1, 5):
        for tags in itertools.product(TAGS, repeat=length):
            assert set(entities(tags)) == spans(tags)


def test_entity_f1_counts_whole_entities():
    rng = np.random.default_rng(0)
    wanted = [rng.integers(0, 5, 8) for _ in range(40)]
    found = [np.where(rng.random(8) < 0.7, row, rng.integers(0, 5, 8)) for row in wanted]
    pairs = [(spans(tuple(TAGS[i] for i in a)), spans(tuple(TAGS[i] for i in b))) for a, b in zip(found, wanted)]  # noqa: B905
    both, mine, theirs = (sum(len(x) for x in each) for each in zip(*((a & b, a, b) for a, b in pairs)))  # noqa: B905
    precision, recall = both / mine, both / theirs
    assert EntityF1().of(Labels(found, wanted, TAGS)) == pytest.approx(2 * precision * recall / (precision + recall))


def test_entities_as_seqeval_reads_them_in_its_strict_mode():
    """The cases of seqeval's own tests of IOB2, and what it gives for them."""
    rows = {
        ("B-PER", "I-PER", "O", "B-LOC"): {("PER", 0, 2), ("LOC", 3, 4)},
        ("I-PER", "I-PER", "O"): set(),
        ("B-PER", "I-LOC", "O"): {("PER", 0, 1)},
        ("B-PER", "B-PER", "I-PER"): {("PER", 0, 1), ("PER", 1, 3)},
        ("O", "I-PER", "B-PER", "I-PER"): {("PER", 2, 4)},
    }
    for tags, expected in rows.items():
        assert set(entities(tags)) == expected


def test_likelihoods():
    seen = Likelihood(nats=10 * math.log(8), count=10, n_bytes=15)
    assert Perplexity().of(seen) == pytest.approx(8)
    assert BitsPerByte().of(seen) == pytest.approx(2)
    assert Perplexity().of(Likelihood(1e6, 1)) == math.inf


def test_each_metric_has_a_task_and_says_which_way_is_better():
    for name in registry.names(Metric):
        cls = registry.find(Metric, name)
        assert cls is not None
        assert cls.reads, name
        assert name in those_of(cls.reads)
    lower = {name for name in registry.names(Metric) if not registry.find(Metric, name).higher}
    assert lower == {"perplexity", "bits_per_byte", "word_error", "error_rate"}


@pytest.mark.parametrize(
    ("metric", "names", "found"),
    [
        (F1(average="binary"), NAMES, "4 classes"),
        (F1(average="binary", positive="e"), NAMES, "e"),
        (F1(positive="a"), NAMES, "macro"),
    ],
)
def test_f1_of_classes_that_are_not_there(metric: F1, names: tuple[str, ...], found: str):
    (_, wrong), *_ = faults([metric], ["labels"], names)
    assert (wrong.code, wrong.found) == ("FX1530", found)


def test_tags_that_are_none():
    assert not list(faults([EntityF1()], ["tags"], TAGS))
    (_, wrong), *_ = faults([EntityF1()], ["tags"], ["O", "PER", "B-"])
    assert (wrong.code, wrong.found) == ("FX1530", "PER, B-")


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    import importlib.util

    monkeypatch.setattr("flexit.runtime.metrics.bleu.find_spec", lambda name: None)
    assert importlib.util.find_spec("sacrebleu")
    (_, wrong), *_ = faults([Bleu()], ["texts"], ())
    assert (wrong.code, wrong.cure) == ("FX1608", "install flexit-ml[train]")
