"""What is wrong with arguments that a function of the library was given, said the same by all of them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

from flexit.errors import UserError
from flexit.ir.wording import article, cut, nearest, several


def unusable(name: str, given: object, *, expected: str, cure: str) -> UserError:
    """The error of an argument that is another thing than it should be."""
    found = article(type(given).__name__)
    return UserError.of("FX2007", f"{name} cannot be used", path=name, expected=expected, found=found, cure=cure)


def whole_number(name: str, given: object, *, low: int, high: int) -> int:
    """An argument that is an integer within bounds.

    Raises:
        UserError: FX2007, it is something else.
    """
    try:
        number = None if isinstance(given, bool) else index(given)  # pyright: ignore[reportArgumentType]
    except TypeError:
        number = None
    if number is None or not low <= number <= high:
        raise UserError.of(
            "FX2007", f"{name} cannot be used", path=name, expected=f"an integer from {low:,} to {high:,}",
            found=article(type(given).__name__) if number is None else cut(str(given)), cure=f"correct {name}",
        )  # fmt: skip
    return number


def misfit(*, missing: Sequence[str], unknown: Sequence[str], known: Sequence[str]) -> tuple[str, str]:
    """What is wrong with the names of a model's inputs, at least one of them, and what to do.

    Args:
        missing: inputs that must be given, and are not.
        unknown: names that no input has.
        known: names of all inputs.
    """
    wrong = [f"the model has no input {name}" for name in unknown[:1]]
    wrong += [f"the input {name} is missing" for name in missing[:1]]
    near = nearest(unknown[0], missing or known) if unknown else None
    cure = f"write {near}" if near else f"pass {several(missing)}" if missing else f"leave {unknown[0]} out"
    return several(wrong), cure
