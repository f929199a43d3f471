"""``docs/kinds.md`` is made from the kinds, and says something about every one of them and every field."""

import re
from pathlib import Path

from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.io.reference import page
from flexit.ir.language.annotations import as_slot
from flexit.ir.language.kinds import families

PATH = Path(__file__).parents[2] / "docs" / "kinds.md"


def test_the_page_is_what_the_code_says(golden):
    golden(PATH, page())


def test_every_kind_has_a_section_with_every_field():
    text = PATH.read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for family in families():
        if not family.__module__.startswith("flexit.ir."):
            continue
        sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", parts[family.family], re.MULTILINE | re.DOTALL))
        for kind in registry.names(family):
            cls = registry.find(family, kind)
            assert cls is not None
            if ":" in kind:
                continue
            for name in set(as_slot(cls)) - ({"init"} if issubclass(cls, Block) else set()):
                assert f"| `{name}` |" in sections[kind], (kind, name)


def test_no_field_is_without_a_meaning():
    assert not re.findall(r"^\| `\w+` \|.*\|  \|$", PATH.read_text(encoding="utf-8"), re.MULTILINE)


def test_links_lead_somewhere():
    text = PATH.read_text(encoding="utf-8")
    anchors = {heading.lower() for heading in re.findall(r"^##+ (\w+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
