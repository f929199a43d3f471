"""The tables of ``docs/compare.md`` are the fields of a compare file and their defaults; its example is valid."""

import re
from pathlib import Path

from flexit.runtime.compare.config import CompareConfig
from flexit.runtime.compare.read import parse_compare
from tests.docs.tables import require_the_same

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")


def test_every_field_is_there_with_its_type_and_default():
    require_the_same(PAGE, CompareConfig)


def test_the_example_of_the_page_is_valid():
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    config, _ = parse_compare(text)
    assert list(config.variants) == ["none", "rotary", "alibi", "slower"]


def test_its_codes_are_explained():
    explained = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    codes = set(re.findall(r"FX[0-9]{4}", PAGE))
    assert {"FX2301", "FX2302", "FX2303"} <= codes
    assert all(f"### {code}: " in explained for code in codes)
