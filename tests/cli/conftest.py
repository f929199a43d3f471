"""A checkpoint and its bundle, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.saved import write_bundle, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_checkpoint(tmp_path_factory.mktemp("saved") / "checkpoint")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """Not to be changed."""
    return write_bundle(tmp_path_factory.mktemp("saved") / "bundle", checkpoint)
