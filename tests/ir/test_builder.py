"""Values given to a Graph in Python that no text could hold."""

from __future__ import annotations

from typing import Any

import pytest

import flexit
from flexit.errors import SpecError


def problems_of(**fields: Any) -> list[Any]:
    graph = flexit.Graph("tiny")
    with pytest.raises(SpecError) as caught:
        graph.embedding(**{"vocab_size": 9, "d_model": 4, **fields}) and graph.spec()
    assert all(problem.file == __file__ and problem.line for problem in caught.value.problems)
    return [(problem.code, problem.found) for problem in caught.value.problems]


def test_halves_of_characters():
    assert problems_of(name="\ud800") == [("FX0101", "U+D800, half of a character")]
    assert problems_of(position="\udfff") == [("FX0101", "U+DFFF, half of a character")]
    with pytest.raises(SpecError, match=r"FX0101 name: a character that no text may hold"):
        flexit.Graph("a\ud83d").spec()


@pytest.mark.parametrize("name", [5, 1.5, b"x", ["x"], ("x",)])
def test_names_that_are_no_text(name: Any):
    (problem,) = problems_of(name=name)
    assert problem[0] == "FX0209"
    graph = flexit.Graph("tiny")
    graph.input(name)
    with pytest.raises(SpecError, match="FX0209 inputs: not a name"):
        graph.spec()


def test_what_contains_itself():
    inside: dict[str, Any] = {}
    inside |= {"a": inside, "b": inside}
    around: list[Any] = []
    around.append(around)
    for value in (inside, around, {"a": around}):
        assert problems_of(position=value) == [("FX0105", "more, as a mapping or list that contains itself has")]
    with pytest.raises(SpecError, match="FX0105"):
        flexit.Graph("tiny", init=inside).spec()
    deep: Any = 1
    for _ in range(70):
        deep = {"a": deep}
    assert problems_of(position=deep)[0][0] == "FX0105"
