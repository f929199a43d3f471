"""Presets are valid without a warning, are as large as the models they are named after, and stand on their page."""

import re
from pathlib import Path

import pytest

from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import check, load_spec, presets
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.prove import TOLERANCE
from tests.published import PUBLISHED

PAGE = Path(__file__).parents[2] / "docs" / "presets.md"
HEADINGS = ("Published models", "Shapes of model", "Proven at full size")


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_valid_and_says_what_it_is(name):
    checked = check(name)
    assert not checked.problems
    assert checked.spec is not None
    assert checked.spec.name == name
    assert checked.spec.description
    assert len(checked.spec.description) <= 100


@pytest.mark.parametrize("name", presets())
def test_a_preset_builds_on_meta_with_as_many_parameters_as_it_costs(name):
    spec = load_spec(name)
    module = to_torch(spec, device="meta")
    assert all(parameter.is_meta for parameter in module.parameters())
    counted = sum(parameter.numel() for parameter in module.parameters())
    assert counted == cost(spec).parameters == (PUBLISHED[name].parameters if name in PUBLISHED else counted)


def table(*rows: tuple[str, ...]) -> str:
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rest)) + "\n"


def listed(names: list[str], *, counted_by: bool) -> str:
    """One row for each preset: name, description, parameters, and for published models who counted them."""
    more = ("counted by",) if counted_by else ()
    rows = [("preset", "what it is", "parameters", *more)]
    for name in names:
        spec = load_spec(name)
        source = (PUBLISHED[name].source,) if counted_by else ()
        rows.append((f"`{name}`", spec.description or "", f"{cost(spec).parameters:,}", *source))
    return table(*rows)


def sections() -> tuple[str, dict[str, str]]:
    """What stands before the first heading, and the text under each."""
    intro, *rest = re.split(r"^## (.*)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return intro, dict(zip(rest[::2], rest[1::2], strict=True))


def test_the_page_lists_what_the_code_says(golden):
    intro, texts = sections()
    assert tuple(texts) == HEADINGS
    names = {
        HEADINGS[0]: listed(sorted(PUBLISHED), counted_by=True),
        HEADINGS[1]: listed([name for name in presets() if name not in PUBLISHED], counted_by=False),
    }
    for heading, rows in names.items():
        before, _, _ = texts[heading].partition("\n| ")
        texts[heading] = f"{before}\n{rows}\n"
    golden(PAGE, intro + "".join(f"## {heading}\n{text}" for heading, text in texts.items()))


def test_what_was_proven_at_full_size_held():
    rows = re.findall(r"^\| `(\S+)` \| (.*) \|$", sections()[1][HEADINGS[2]], flags=re.MULTILINE)
    assert rows
    assert [name for name, _ in rows] == sorted({name for name, _ in rows} & set(presets()))
    for name, row in rows:
        parameters, cases, error, tokens = row.split(" | ")
        program = check(name).program
        assert program is not None
        assert parameters == f"{cost(program).parameters:,}"
        assert int(cases) > 0
        assert 0 < float(error) <= TOLERANCE["fp32"]
        equal, _, compared = tokens.partition(" of ")
        assert tokens == "does not decode" if program.decoded is None else equal == compared != ""
