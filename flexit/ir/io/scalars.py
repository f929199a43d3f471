"""What a plain YAML scalar means: the core schema of YAML 1.2, and the bounds on numbers."""

from __future__ import annotations

import math
import re

NULL = frozenset({"", "~", "null", "Null", "NULL"})
TRUE = frozenset({"true", "True", "TRUE"})
FALSE = frozenset({"false", "False", "FALSE"})
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
LARGEST = 2**31 - 1


class BadNumber(ValueError):
    """A number that is not finite, or an integer beyond 2^31 - 1."""


def resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar.

    Raises:
        BadNumber: it is a number that no field can hold.
    """
    if text in NULL:
        return None
    if text in TRUE or text in FALSE:
        return text in TRUE
    if INTEGER.fullmatch(text):
        return _integer(text)
    if NOT_FINITE.fullmatch(text):
        raise BadNumber(text)
    if FLOAT.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise BadNumber(text)
        return number
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-0")
    if len(digits) > 20:
        raise BadNumber(text)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    number = int(text if base == 10 else text[2:], base)
    if abs(number) > LARGEST:
        raise BadNumber(text)
    return number
