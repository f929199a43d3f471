"""Forms that compute. Each can be turned round; where rounding stands in the way, the nearest short number is taken."""

from __future__ import annotations

import math
from typing import Any, cast

from flexit.convert.mapping.forms import Data, Form, Found, Incomplete, Mismatch, Scope, is_key, same


def number(scope: Scope, template: Any) -> float:
    """The number that a template stands for.

    Raises:
        Incomplete: it is none.
    """
    value = scope.fill(template)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Incomplete(str(template).removeprefix("$"), "a number", value)
    return value


def short(value: float) -> float | int:
    """The number with fewest digits that is this one but for rounding."""
    for digits in range(1, 17):
        rounded = float(f"{value:.{digits}g}")
        if same(rounded, value):
            return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded
    return value


def _require_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Mismatch("a number", value)
    return value


def part_of(template: Any, found: Found) -> float | None:
    """What a number, a key or a form is as far as that is known."""
    if is_key(template):
        return found.known(template[1:])
    try:
        return Scope(found.keys, {}, frozenset()).fill(template)
    except Incomplete:
        return None


class Quotient(Form):
    """``{$quotient: [a, b]}``: a / b, a whole number where both are."""

    name = "quotient"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        top, bottom = (number(scope, each) for each in cast("list[Any]", args[""]))
        if bottom == 0:
            raise Incomplete(str(cast("list[Any]", args[""])[1]).removeprefix("$"), "a number other than 0", 0)
        return top // bottom if isinstance(top, int) and isinstance(bottom, int) else top / bottom

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        """Of two keys the one that is not known yet."""
        top, bottom = cast("list[Any]", args[""])
        quotient = _require_number(value)
        parts = [found.known(str(each).removeprefix("$")) if is_key(each) else each for each in (top, bottom)]
        if parts[1] is not None and is_key(top):
            found.bind(top, short(quotient * parts[1]))
        elif parts[0] is not None and is_key(bottom):
            if quotient == 0:
                raise Mismatch("a number other than 0", quotient)
            found.bind(bottom, short(parts[0] / quotient))


class Product(Form):
    """``{$product: [a, b, ...]}``: what they give when multiplied."""

    name = "product"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        return math.prod(number(scope, each) for each in cast("list[Any]", args[""]))

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        """The one key that is not known yet."""
        product = _require_number(value)
        known: list[float] = []
        missing: list[str] = []
        for each in cast("list[Any]", args[""]):
            part = part_of(each, found)
            if part is None:
                missing.append(each)
            else:
                known.append(part)
        if len(missing) == 1 and is_key(missing[0]) and math.prod(known):
            found.bind(missing[0], short(product / math.prod(known)))


class Power(Form):
    """``{$power: [x, e]}``: x to the power of the number e, which is not 0."""

    name = "power"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        base, exponent = cast("list[Any]", args[""])
        return math.pow(number(scope, base), exponent)  # a ValueError for a root of a negative number, never complex

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        base, exponent = cast("list[Any]", args[""])
        power = _require_number(value)
        try:
            found.read(base, short(math.pow(power, 1 / exponent)))
        except (ArithmeticError, ValueError) as error:
            raise Mismatch(f"a power with the exponent {exponent}", power) from error


class Sum(Form):
    """``{$sum: [x, n]}``: x and n, a number or a key."""

    name = "sum"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        base, added = cast("list[Any]", args[""])
        return number(scope, base) + number(scope, added)

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        base, added = cast("list[Any]", args[""])
        known = part_of(added, found)
        if known is not None:
            found.read(base, _require_number(value) - known)


class Difference(Form):
    """``{$difference: [a, b, ...]}``: a less all others, numbers or keys."""

    name = "difference"

    @staticmethod
    def fill(args: Data, scope: Scope) -> Any:
        first, *others = (number(scope, each) for each in cast("list[Any]", args[""]))
        return first - sum(others)

    @staticmethod
    def read(args: Data, value: Any, found: Found) -> None:
        """The one key that is not known yet."""
        difference = _require_number(value)
        signed: list[tuple[str, int]] = []
        for index, each in enumerate(cast("list[Any]", args[""])):
            sign = -1 if index else 1
            part = found.known(each[1:]) if is_key(each) else each
            if part is None:
                signed.append((each, sign))
            else:
                difference -= sign * part
        if len(signed) == 1:
            found.bind(signed[0][0], signed[0][1] * difference)
