"""Rules of a mapping file: which tensor of theirs is which parameter of ours, a copy of another, or a known number."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of a mapping file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(Part):
    """Where a tensor of theirs goes.

    Attributes:
        to: our parameters, in the order in which their tensor holds them; names with holes.
        layout: how it holds them.
        given: a parameter of ours without which the rule says nothing; the same holes.
        absent: what stands for their tensor where a checkpoint lacks it: a number, or ``{sinusoidal: style}``.
        stride: of how many layers of ours, numbered ``{n}``, each that they number is the first.
        where: values of keys of the configuration without which it says nothing, as a condition of ``$if``.
        tied_to: another of their tensors that this one is, where the two are tied.
        when: the key that says whether they are; what the tensors say goes before it.
    """

    to: str | list[str] = Field(default_factory=list)
    layout: Any = None
    given: str | None = None
    absent: Any = None
    stride: Any = None
    where: str | dict[str, Any] | None = None
    tied_to: str | None = None
    when: str = "tie_word_embeddings"

    @property
    def targets(self) -> list[str]:
        """Our parameters."""
        return [self.to] if isinstance(self.to, str) else self.to


class Copy(Part):
    """A tensor that holds what another one holds.

    Attributes:
        of: the name of the other one; the same holes.
        dead: whether their code has it and does not read it: then it may hold anything, and is written too.
    """

    of: str
    dead: bool = False


class Constant(Part):
    """A tensor of theirs that holds a number which is the same in every checkpoint.

    Attributes:
        value: the number.
        beside: a parameter of ours for each of which there is such a tensor, in the same format; the same holes.
    """

    value: float
    beside: str


def rule_of(written: str | Rule) -> Rule:
    """A rule, which may be the name of our parameter alone."""
    return Rule(to=written) if isinstance(written, str) else written


def copy_of(written: str | Copy) -> Copy:
    """A copy, which may be the name of the other tensor alone."""
    return Copy(of=written) if isinstance(written, str) else written
