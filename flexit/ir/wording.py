"""How messages word things: values as written, lists of names, the nearest name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from math import isqrt
from typing import Any, cast

LONGEST = 60


def shown(value: Any) -> str:
    """A value as it would be written, on one line and not too long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = value.isprintable() and value != "" and value == value.strip()
        return cut(value if plain else json.dumps(value))
    if isinstance(value, dict):
        entries = list(cast("dict[Any, Any]", value).items())
        inside = ", ".join(f"{shown(key)}: {shown(entry)}" for key, entry in entries[:4])
        return cut(f"{{{inside}{', ...' if len(entries) > 4 else ''}}}")
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return cut(f"[{', '.join(shown(entry) for entry in items[:6])}{', ...' if len(items) > 6 else ''}]")
    return cut(str(value))


def typed(value: Any) -> str:
    """A value with what it is: ``the text "8000" (quoted)``."""
    if isinstance(value, str):
        return f"the text {cut(json.dumps(value, ensure_ascii=False))}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the truth value {shown(value)}"
    if isinstance(value, dict):
        return f"the mapping {shown(value)}"
    if isinstance(value, list):
        return f"the list {shown(value)}"
    return f"the {'integer' if isinstance(value, int) else 'number'} {shown(value)}"


def cut(text: str) -> str:
    """``text`` on one line, its end left out where it is long."""
    text = text.replace("\n", "\\n")
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def either(words: Iterable[str]) -> str:
    """``a, b or c``."""
    words = list(words)
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def divisors(number: int) -> list[int]:
    """All divisors, in order: what messages offer."""
    small = [n for n in range(1, isqrt(number) + 1) if number % n == 0]
    return sorted({*small, *(number // n for n in small)})


def several(words: Iterable[str]) -> str:
    """``a, b and c``."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word most like ``word``, if any is like it."""
    near = difflib.get_close_matches(word[:LONGEST], known, 1, 0.6)
    longer = [name for name in known if len(word) > 2 and name.startswith(word)]
    return near[0] if near else longer[0] if len(longer) == 1 else None


def article(noun: str) -> str:
    """``noun`` with its indefinite article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
