"""The examples of ``docs/language.md`` are valid, and its tables are complete."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from flexit.ir.io.load import check, check_text, presets
from flexit.ir.language.initialisation import ROLES
from flexit.ir.spec import Spec

PAGE = (Path(__file__).parents[2] / "docs" / "language.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def first_cells(section: str) -> set[str]:
    """What stands in code in the first column of a section's tables."""
    return set(re.findall(r"^\| `(\w+)` \|", SECTIONS[section], re.MULTILINE))


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_an_example_is_valid_and_warns_of_nothing(index):
    text = EXAMPLES[index]
    checked = check_text(
        text if text.startswith("flexit:") else f"flexit: 1\nname: example\n{text}", f"example {index}"
    )
    assert not checked.problems


def test_there_are_examples_of_every_part():
    assert len(EXAMPLES) >= 6


def test_the_document_has_these_keys():
    assert first_cells("Document") == set(Spec.model_fields)


def test_the_roles_are_these():
    assert first_cells("Initialisation") == set(ROLES)


def test_the_contents_lead_to_every_section():
    links = re.findall(r"\]\(#([a-z-]+)\)", PAGE)
    assert links == [name.lower().replace(" ", "-") for name in SECTIONS]


@pytest.mark.parametrize("name", presets())
def test_every_part_of_a_parameter_name_is_explained(name):
    checked = check(name)
    assert checked.program is not None and checked.spec is not None
    paths = [param.path for param in checked.program.params()]
    assert paths
    assert unexplained(paths, checked.spec) == set()


def unexplained(paths: Iterable[str], spec: Spec) -> set[str]:
    """Parts of parameters' names that are neither on the page nor names of the spec."""
    known = set(re.findall(r"\w+", SECTIONS["Parameter names"])) | _block_names(spec)
    parts = {part for path in paths for part in path.split(".") if not part.isdigit()} - known
    return {part for part in parts if re.sub(r"^(attention|cross_attention|feed_forward)(_2)?_", "", part) not in known}


def _block_names(spec: Spec) -> set[str]:
    """Keys of every ``blocks`` map in a spec."""
    found: set[str] = set()
    waiting = [spec.node]
    while waiting:
        node = waiting.pop()
        if node is None or not node.entries:
            continue
        found |= set(node.entries["blocks"].entries) if "blocks" in node.entries else set()
        waiting += node.entries.values()
    return found
