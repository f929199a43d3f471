"""``docs/kinds.md`` and the pages of kinds are made from the code, and say something about every kind and field."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from flexit.ir.block import Block
from flexit.ir.io.load import parse_spec
from flexit.ir.io.reference import index, kind_page, kinds_of, own_families, page_of
from flexit.ir.language.annotations import as_slot
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.grid import Case, inputs_for
from tests.docs.documents import document

DOCS = Path(__file__).parents[2] / "docs"
INDEX = DOCS / "kinds.md"
KINDS = [cls for family in own_families() for cls in kinds_of(family)]
NAMES = [f"{cls.family}-{cls.kind}" for cls in KINDS]


def written(cls):
    return (DOCS / page_of(cls)).read_text(encoding="utf-8")


def test_the_index_is_what_the_code_says(golden):
    golden(INDEX, index())


@pytest.mark.parametrize("cls", KINDS, ids=NAMES)
def test_a_page_is_what_the_code_says(cls, golden):
    path = DOCS / page_of(cls)
    path.parent.mkdir(parents=True, exist_ok=True)
    golden(path, kind_page(cls, document(cls)))


def test_no_page_is_of_a_kind_that_is_gone():
    assert {path.relative_to(DOCS).as_posix() for path in (DOCS / "kinds").rglob("*.md")} == set(map(page_of, KINDS))


@pytest.mark.parametrize("cls", KINDS, ids=NAMES)
def test_a_page_has_formula_source_and_every_field(cls):
    assert cls.formula and cls.source
    for name in set(as_slot(cls)) - ({"init"} if issubclass(cls, Block) else set()):
        assert f"| `{name}` |" in written(cls)


@pytest.mark.parametrize("cls", KINDS, ids=NAMES)
def test_an_example_runs(cls):
    (text,) = re.findall(r"```yaml\n(.*?)```", written(cls), re.DOTALL)
    assert cls.kind in text
    assert yaml.safe_load(text)["name"] == cls.kind
    module = to_torch(parse_spec(text)).eval()
    inputs = inputs_for(module.program, Case(2, 5, 0), np.random.default_rng(0))
    outputs = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    assert all(torch.isfinite(value).all() for value in outputs.values())


def pages():
    return [INDEX, *(DOCS / page_of(cls) for cls in KINDS)]


def test_no_field_is_without_a_meaning():
    for path in pages():
        assert not re.findall(r"^\| `\w+` \|.*\|  \|$", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_links_lead_somewhere():
    for path in pages():
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", path.read_text(encoding="utf-8")):
            there = (path.parent / target).resolve() if target else path
            assert there.is_file(), (path, target)
            headings = re.findall(r"^##+ (\w+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert not anchor or anchor in {heading.lower() for heading in headings}, (path, anchor)
