"""Generated documents: flexit accepts what the language reference says is legal, and refuses the rest."""

import os
import subprocess
import sys
from collections import Counter
from itertools import islice

import pytest

from flexit.ir.analysis.cost import count_parameters
from flexit.ir.language.annotations import fields
from flexit.ir.registry import find, names
from flexit.ir.spec import Spec
from tests.fuzz import rulebook
from tests.fuzz.damage import shrink
from tests.fuzz.legality import judge
from tests.fuzz.occurrences import vocabulary, written
from tests.fuzz.sample import FEW, MANY, accepted, as_yaml, check, checked, codes, drawn, shown, spec_families


def disagrees(data):
    """Whether flexit and the reference disagree about a document; a crash is a disagreement too."""
    verdict = judge(data)
    try:
        result = check(data)
        reported, program = codes(result), result.program
        counted = verdict.parameters if program is None else count_parameters(program)
    except Exception as error:
        return type(error).__name__
    if verdict.allows(reported) and not verdict.parameters - verdict.unread <= counted <= verdict.parameters:
        return f"flexit counts {counted} parameters, the reference {verdict.parameters}"
    return "" if verdict.allows(reported) else f"flexit {sorted(reported)}, reference {sorted(verdict.codes)}"


def agree(seeds):
    for seed in seeds:
        found = disagrees(drawn(seed))
        if found:
            smallest = shrink(drawn(seed), lambda data, found=found: _same(data, found))
            pytest.fail(shown(seed, smallest, found), pytrace=False)


def _same(data, found):
    try:
        return disagrees(data) == found
    except Exception:  # the reference is not made for every shape that shrinking tries
        return False


def test_some_documents_are_judged_alike():
    agree(FEW)
    assert 0 < len(list(accepted(FEW))) < len(FEW)


@pytest.mark.slow
def test_many_documents_are_judged_alike():
    agree(MANY)


@pytest.mark.slow
def test_most_documents_are_accepted_and_the_others_refused_for_many_reasons():
    share = len(list(accepted(MANY))) / len(MANY)
    assert share >= 0.7
    reasons = Counter(code for seed in MANY for code in codes(checked(seed)))
    assert sum(reasons.values()) >= 0.1 * len(MANY)
    assert len(reasons) >= 20, reasons
    assert max(reasons.values()) <= 0.5 * sum(reasons.values())


@pytest.mark.nightly
def test_every_kind_field_and_word_is_in_some_accepted_documents():
    """Five or more of a thousand accepted ones."""
    thousand = list(islice(accepted(range(2000)), 1000))
    assert len(thousand) == 1000
    counts = Counter(name for seed in thousand for name in written(drawn(seed)))
    assert {name: counts[name] for name in vocabulary() if counts[name] < 5} == {}


def test_the_rulebook_has_what_the_registry_has():
    """A new kind or field needs its row in the rulebook, and its rule in the predicate if it can be wrong."""
    for family in spec_families():
        assert names(family) == sorted(rulebook.kinds_of(family.family)), family.family
        for kind in names(family):
            cls = find(family, kind)
            assert cls is not None
            assert set(fields(cls)) == set(rulebook.entry_of(family.family, kind).fields), kind
            required = {name for name, entry in fields(cls).items() if entry.required}
            assert required == {
                name for name, field in rulebook.entry_of(family.family, kind).fields.items() if field.required
            }, kind
    assert set(fields(Spec)) == set(rulebook.GROUPS["Document"].fields)


@pytest.mark.slow
def test_a_seed_is_one_document_on_every_machine():
    text = "".join(as_yaml(drawn(seed)) for seed in FEW)
    command = "from tests.fuzz.sample import *; print(''.join(as_yaml(drawn(s)) for s in FEW), end='')"
    other = subprocess.run(
        [sys.executable, "-c", command], env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": "."},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert other.stdout == text


def test_a_wrong_check_would_be_seen(monkeypatch):
    """A check that refuses too little, and one that refuses too much, each change a verdict."""
    from flexit.ir.checks import fields as field_checks
    from flexit.ir.checks import unread

    monkeypatch.setattr(field_checks, "check", lambda walk: iter(()))
    inert = {"kind": "embedding", "vocab_size": 5, "d_model": 4, "norm_at": "token"}
    assert disagrees({"flexit": 1, "name": "x", "blocks": {"embed": inert}})
    monkeypatch.undo()
    assert not disagrees({"flexit": 1, "name": "x", "blocks": {"embed": inert}})
    monkeypatch.setattr(unread, "_names", lambda scope: set())
    assert disagrees(
        {"flexit": 1, "name": "x", "blocks": {"embed": {"kind": "embedding", "vocab_size": 5, "d_model": 4}}}
    )
