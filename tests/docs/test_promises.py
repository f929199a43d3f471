"""Every promise of ``docs/promises.md`` names tests, and every test that it names is collected."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NODE = re.compile(r"`(tests/[\w/]+\.py::test_\w+)`")


def promises() -> dict[str, list[str]]:
    """Promise -> its tests, from the rows of the table."""
    rows = [line.strip("|").rpartition("|") for line in PAGE.splitlines() if line.startswith("|")][2:]
    return {promise.strip(): NODE.findall(tests) for promise, _, tests in rows}


def collected(files: list[str]) -> set[str]:
    """Tests that pytest finds in files, without their parameters."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-m",
        "not nightly",
        *files,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}


def test_there_are_promises():
    assert len(promises()) >= 25


@pytest.mark.parametrize("promise", promises())
def test_a_promise_names_tests(promise):
    tests = promises()[promise]
    assert tests
    for node in tests:
        file, _, name = node.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_nothing_else_stands_where_tests_are_named():
    named = re.findall(r"`(tests/[^`]*)`", PAGE)
    assert [name for name in named if not NODE.fullmatch(f"`{name}`")] == []


@pytest.mark.slow
def test_every_named_test_is_collected(request):
    """By this run; where it was given fewer files, by another of those that it lacks."""
    named = {node for tests in promises().values() for node in tests}
    here = {item.nodeid.partition("[")[0] for item in request.session.items}
    elsewhere = {node.partition("::")[0] for node in named - here}
    assert not elsewhere or named - here - collected(sorted(elsewhere)) == set()
