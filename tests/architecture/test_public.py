"""What users rely on by name: changed only on purpose, with the golden text. Update with --update-golden."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command

import flexit
from flexit.cli.app import app
from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.io.load import presets
from flexit.ir.language.kinds import families

GOLDEN = Path(__file__).parent / "golden" / "public.txt"


def surface() -> str:
    lines = ["# flexit", *(f"flexit.{name}" for name in flexit.__all__), "", "# command line"]
    for name, command in sorted(get_command(app).commands.items()):  # type: ignore[attr-defined]
        options = sorted(option for parameter in command.params for option in parameter.opts)
        lines.append(f"{name} {' '.join(options)}")
    registry.names(Block)
    ours = [family for family in families() if family.__module__.startswith("flexit.ir")]
    lines += [
        "",
        "# kinds",
        *(f"{family.family} {' '.join(registry.names(family))}" for family in sorted(ours, key=str)),
    ]
    return "\n".join([*lines, "", "# presets", *presets(), ""])


def test_public_names(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(surface(), encoding="utf-8")
    assert surface().splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", flexit.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(flexit, name) is not None
