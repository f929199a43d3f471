"""The compare file as typed data, field by field (``docs/compare.md``)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from flexit.ir.analysis.sizing import By, Vary
from flexit.ir.language.kinds import Group
from flexit.runtime.train.fields import NotNegativeInt

Value = bool | int | float | str


class Variant(Group):
    """One of the things that are compared."""

    model: str | None = None
    """A spec, preset or checkpoint; null: that of the run config."""
    set: list[str] = Field(default_factory=list[str])
    """Overrides of the spec or of the run config, after those for all."""


class Match(Group):
    """How variants are made equally large."""

    by: By = "parameters"
    """What is to be equal."""
    vary: Vary = "d_ff"
    """What is changed for it."""
    to: str | None = None
    """The variant that the others are made as large as; null: the first one."""


class CompareConfig(Group):
    """What is compared, and how."""

    examples: ClassVar = ({"run": "run.yaml", "out": "runs/compared"},)
    flexit: Literal[1]
    """Version of the language of compare files."""
    run: str
    """A run config: what all runs have in common."""
    set: list[str] = Field(default_factory=list[str])
    """Overrides for all runs, of the spec or of the run config."""
    variants: dict[str, Variant] = Field(default_factory=dict[str, Variant])
    """What is compared, by name."""
    grid: dict[str, list[Value]] = Field(default_factory=dict[str, "list[Value]"])
    """Values to try, by the place that they are set at."""
    seeds: list[NotNegativeInt] = Field(default_factory=lambda: [0])
    """Each variant is trained once with each."""
    match: Match | None = None
    """Make all variants as large as one of them."""
    extrapolate: list[Annotated[int, Field(ge=2)]] = Field(default_factory=list[int])
    """Tokens of further rows in which the held-out text is looked at after training."""
    out: str
    """The folder of the comparison."""
