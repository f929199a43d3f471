"""Every error that flexit raises on purpose, and the record that a user error is made of.

FlexitError
|-- UserError (also a ValueError)      something the user wrote or asked for; carries .problems
|   |-- SpecError                      the text, the language, the graph or the shapes of a spec
|   |-- RunConfigError                 a run config
|   |-- BundleError                    a bundle that is damaged, unsafe or not one
|   |-- CheckpointError                a checkpoint or run folder that cannot be used
|   |-- SourceError                    another library's checkpoint that cannot be used
|   |-- ResourceError                  more memory or disk than there is
|   `-- TaskError                      the model cannot do what is asked (decode, generate, ...)
|-- ProofError                         two lowerings of one program disagree
`-- LoweringError                      an op that a target cannot say
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, in the five parts every message has.

    Attributes:
        code: stable code (``FX0205``), explained in ``docs/errors.md``.
        path: where in the document, as dotted keys (``blocks.words.vocab_size``).
        message: what is wrong.
        expected: what would be right.
        found: what is there.
        cure: what to do, an imperative.
        file, line, column: place in the text, 1-based, where the text is known.
        warning: true for a problem that does not stop anything unless ``--strict``.
    """

    code: str
    path: str
    message: str
    expected: str
    found: str
    cure: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    warning: bool = False

    def at(self, file: str | None, line: int | None, column: int | None) -> Problem:
        """The same problem at a place of the text."""
        return replace(self, file=file, line=line, column=column)

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        head = f"{place}: " if place else ""
        kind = f"{self.code} warning" if self.warning else self.code
        path = f" {self.path}" if self.path else ""
        return printable(
            f"{head}{kind}{path}: {self.message}\n  expected {self.expected}; found {self.found}\n  do: {self.cure}"
        )


def printable(text: str) -> str:
    """``text`` with every control character except newline and tab escaped, so that a terminal only shows it."""
    return "".join(
        char if char in "\n\t" or (char.isprintable() or char == " ") else char.encode("unicode_escape").decode()
        for char in text
    )


class FlexitError(Exception):
    """Root of everything flexit raises on purpose."""


class UserError(FlexitError, ValueError):
    """Something the user can put right; prints as the command line prints it.

    Attributes:
        problems: every problem found in the phase that failed, sorted by place.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,), self.__dict__

    @property
    def code(self) -> str:
        """The code of the first problem."""
        return self.problems[0].code

    @classmethod
    def of(cls, code: str, message: str, *, expected: str, found: str, cure: str, path: str = "") -> Self:
        """An error of one problem that has no place in a text."""
        return cls([Problem(code=code, path=path, message=message, expected=expected, found=found, cure=cure)])


class SpecError(UserError):
    """A spec that is not valid."""


class RunConfigError(UserError):
    """A run config that is not valid."""


class BundleError(UserError):
    """A bundle that is damaged, unsafe or no bundle at all."""


class CheckpointError(UserError):
    """A checkpoint or run folder that cannot be used."""


class SourceError(UserError):
    """Another library's checkpoint, or a mapping file, that cannot be used."""


class ResourceError(UserError):
    """More memory or disk is needed than there is."""


class TaskError(UserError):
    """The model cannot do what is asked of it."""


class ProofError(FlexitError):
    """Two lowerings of one program compute different numbers."""


class LoweringError(FlexitError):
    """An op that a target has no lowering for; a defect of flexit or of a plugin, not of a spec."""
