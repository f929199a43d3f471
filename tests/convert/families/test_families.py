"""Every family: a random model of ``transformers`` is imported with equal outputs, written back, and read again."""

from pathlib import Path

import pytest

from flexit.convert.mapping.family import family_names, find_family
from flexit.convert.pretrained import from_pretrained
from flexit.convert.to_pretrained import to_pretrained
from tests.convert.families.comparing import TOLERANCE, cached_error, errors, module_of
from tests.convert.families.models import all_drawn, made
from tests.convert.families.same import same_tensors
from tests.fuzz.day import drawn_day

pytestmark = pytest.mark.slow


def ways():
    """The first model of each family and every other of the rest; those between them at night."""
    first = {way.family: way for way in reversed(all_drawn())}
    others = [way for way in all_drawn() if way is not first[way.family]]
    yield from (*first.values(), *others[::2])
    yield from (pytest.param(way, marks=pytest.mark.nightly) for way in others[1::2])


@pytest.fixture(scope="module", params=ways(), ids=str)
def imported(request, tmp_path_factory):
    """Their model, the folder that it was saved in, what was imported from there, and its module."""
    way = request.param
    model = made(way, drawn_day())
    folder = tmp_path_factory.mktemp("theirs")
    model.save_pretrained(folder)
    pretrained = from_pretrained(folder)
    assert (pretrained.family, pretrained.head) == (way.family, way.head)
    return model, folder, pretrained, module_of(pretrained)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_same_outputs(imported, padding):
    model, _, _, module = imported
    found = errors(model, module, padding)
    if not found:
        pytest.skip("theirs pools the first slot, which is a pad")
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("padding", ["none", "left"])
def test_same_scores_with_a_cache(imported, padding):
    model, _, pretrained, module = imported
    if (
        module.program.decoded is None
        or "logits" not in module.program.outputs
        or pretrained.head not in ("causal", "seq2seq")
    ):
        pytest.skip("does not decode")
    assert cached_error(model, module, padding) < TOLERANCE


def test_written_back(imported, tmp_path):
    model, folder, pretrained, module = imported
    name = to_pretrained(
        pretrained.spec, pretrained.weights, tmp_path / "back", family=pretrained.family, files=pretrained.files
    )
    assert name == type(model).__name__
    plain = {"attn_implementation": model.config._attn_implementation}
    if getattr(model.config, "_experts_implementation", None) == "eager":
        plain["experts_implementation"] = "eager"
    again, told = type(model).from_pretrained(tmp_path / "back", output_loading_info=True, **plain)
    assert {key: list(value) for key, value in told.items() if value} == {}
    assert max(errors(again.eval(), module, "right").values()) < TOLERANCE
    assert same_tensors(folder, tmp_path / "back")


APART = {"esm": "test_esm.py"}
"""Families whose files hold more than a spec says, and where they are tested."""


def test_the_page_names_every_family_and_every_model_is_drawn():
    page = (Path(__file__).parents[3] / "docs" / "families.md").read_text(encoding="utf-8")
    ways = {(way.family, way.head) for way in all_drawn()}
    for name in family_names():
        assert f"| {name} |" in page, "run python -m tests.convert.families"
        missing = [head for head in find_family(name).heads if (name, head) not in ways]
        assert missing == [] or (Path(__file__).parent / APART[name]).is_file()
