"""What the language has and this build does not: refused as *not yet*, at its place, and nothing else is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flexit.ir import registry, spec
from flexit.ir.block import Block
from flexit.ir.io.load import check_text
from flexit.ir.language.annotations import fields
from flexit.ir.language.kinds import Group, Kind, families

HERE = Path(__file__).parent
LANGUAGE = YAML(typ="safe").load((HERE / "language.yaml").read_text(encoding="utf-8"))
EXPECTED = {
    "albert": {},
    "alibi": {},
    "bert": {},
    "bi-encoder": {},
    "deberta": {},
    "deepseek": {},
    "electra": {},
    "gemma2": {},
    "gpt-oss": {},
    "joined-encoders": {},
    "memory-tokens": {},
    "modernbert": {},
    "music": {},
    "words": {},
}  # fmt: skip
"""Document -> path of each problem -> what it says is not here yet."""


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_document_of_the_language_has_no_problem_but_what_is_not_built(name):
    path = HERE / f"{name}.yaml"
    problems = check_text(path.read_bytes(), path.name).problems
    assert {problem.path: problem.found for problem in problems} == EXPECTED[name]
    for problem in problems:
        assert problem.code == "FX0203"
        assert "is not here yet" in problem.message
        assert problem.line and problem.column


def test_every_document_is_looked_at():
    assert {path.stem for path in HERE.glob("*.yaml")} - {"language"} == set(EXPECTED)


def classes() -> dict[tuple[str, str], type[Group]]:
    """Every built-in kind by family and name, and every group by its class name."""
    registry.names(Block)
    found: dict[tuple[str, str], type[Group]] = {}
    for family in families():
        if family.__module__.startswith("flexit.ir"):
            kinds = {kind: registry.find(family, kind) for kind in registry.names(family) if ":" not in kind}
            found |= {(family.family, kind): cls for kind, cls in kinds.items() if cls is not None}
    for cls in below(Group):
        if cls.__module__.startswith("flexit.ir") and not issubclass(cls, Kind) and cls is not spec.Spec:
            found["group", cls.__name__] = cls
    return found


def below(cls: type[Group]) -> Iterator[type[Group]]:
    for child in cls.__subclasses__():
        yield child
        yield from below(child)


def test_every_kind_of_the_language_is_built_or_for_later():
    built = classes()
    for family in families():
        for kind in LANGUAGE.get(family.family, ()):
            assert ((family.family, kind) in built) != (kind in registry.later(family)), kind
    assert set(LANGUAGE) - {"group"} <= {family.family for family in families()}


def test_nothing_is_built_that_the_language_lacks():
    known = {(family, kind) for family, kinds in LANGUAGE.items() for kind in kinds}
    assert set(classes()) - known == set()


def test_every_field_of_a_built_kind_is_there_or_for_later():
    for (family, name), cls in classes().items():
        every_block = {"from", "shares", "init"} if issubclass(cls, Block) else set()
        there = set(fields(cls)) - every_block
        assert there | set(cls.later) == set(LANGUAGE[family][name] or ()), name
        assert not there & set(cls.later), name


@pytest.mark.parametrize(
    ("place", "kind"),
    [("Mask", "mla"), ("Mixer", "span"), ("Norm", "conv"), ("Bias", "prefix"), ("FeedForward", "mamba2")],
)
def test_a_planned_kind_in_the_wrong_place_is_called_misplaced(place, kind):
    slots = {
        "Mask": f"{{kind: multi_head, n_heads: 2, mask: {kind}}}",
        "Mixer": kind,
        "Bias": f"{{kind: multi_head, n_heads: 2, mask: full, scores: {{bias: {kind}}}}}",
    }
    layer = {"norm": kind if place == "Norm" else "null", "feed_forward": kind if place == "FeedForward" else "null"}
    text = f"""
flexit: 1
name: misplaced
blocks:
  embed: {{kind: embedding, vocab_size: 10, d_model: 8}}
  layer:
    kind: transformer_layer
    norm: {layer["norm"]}
    attention: {slots.get(place, "{kind: multi_head, n_heads: 2, mask: full}")}
    feed_forward: {layer["feed_forward"]}
"""
    (problem,) = check_text(text, "misplaced.yaml").problems
    assert (problem.code, problem.found) == ("FX0204", kind)
