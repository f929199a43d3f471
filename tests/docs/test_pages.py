"""Files that the pages name exist, and so does every page that the index names."""

import re
from pathlib import Path

import pytest

import flexit

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
]
CODE = r"`((?:flexit|tests|docs|schemas|bench|examples)/[\w./-]*)`"


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page):
    named = re.findall(CODE, text(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text(page)) if "://" not in link]
    assert [t for t in targets if t and not (ROOT / page).parent.joinpath(t).exists()] == []


def test_the_index_names_every_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", text("docs/README.md")))


def test_the_changelog_has_this_version():
    assert f"\n## {flexit.__version__}" in text("CHANGELOG.md")
