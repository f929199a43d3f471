"""What all tests share."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.day import drawn_day


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = (report for reports in terminalreporter.stats.values() for report in reports)
    if any(str(getattr(report, "nodeid", "")).startswith(("tests/fuzz", "tests/nightly")) for report in ran):
        terminalreporter.write_line(f"seed of the day: {drawn_day()}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write golden texts anew instead of comparing")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def golden(update_golden: bool) -> Callable[[Path, str], None]:
    """Compares a text with a file; with --update-golden, writes the file and prints the difference."""

    def compare(path: Path, text: str) -> None:
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        if known == text:
            return
        difference = "\n".join(difflib.unified_diff(known.splitlines(), text.splitlines(), "known", "now", lineterm=""))
        if not update_golden:
            pytest.fail(f"{path.name} differs; if it should, run pytest --update-golden\n{difference}", pytrace=False)
        print(f"{path}\n{difference}")
        path.write_text(text, encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small model, written once; not to be changed."""
    from tests.saved import write_checkpoint  # imports torch, which tests of documents do without

    return write_checkpoint(tmp_path_factory.mktemp("saved") / "checkpoint")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """Its bundle, written once; not to be changed."""
    from tests.saved import write_bundle

    return write_bundle(tmp_path_factory.mktemp("saved") / "bundle", checkpoint)
