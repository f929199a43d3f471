"""``docs/errors.md`` explains every code that occurs in the code, once, and no other."""

import re
from pathlib import Path

from flexit.ir.diagnostics import TITLES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
EXPLAINED = re.findall(r"^### (FX[0-9]{4}): (.+)$", TEXT, re.MULTILINE)


def occurring() -> set[str]:
    """Codes in the package's source."""
    files = (ROOT / "flexit").rglob("*.py")
    return {code for file in files for code in re.findall(r"FX[0-9]{4}\b", file.read_text(encoding="utf-8"))}


def test_every_code_is_explained_once():
    codes = [code for code, _ in EXPLAINED]
    assert sorted(codes) == sorted(set(codes))
    assert set(codes) == occurring()


def test_the_titles_are_those_of_the_table():
    assert {code: title for code, title in EXPLAINED if code in TITLES} == TITLES


def test_every_code_stands_under_its_group_and_has_a_text():
    sections = re.split(r"^## (FX[0-9]{2}): .+$", TEXT, flags=re.MULTILINE)[1:]
    for group, body in zip(sections[::2], sections[1::2], strict=True):
        for entry in re.split(r"^### ", body, flags=re.MULTILINE)[1:]:
            head, _, text = entry.partition("\n")
            assert head.startswith(group)
            assert len(text.split()) >= 5, head


def test_codes_of_the_run_config_page_are_explained():
    page = (ROOT / "docs" / "run-config.md").read_text(encoding="utf-8")
    assert set(re.findall(r"FX[0-9]{4}", page)) <= {code for code, _ in EXPLAINED}
