"""Names of tensors with holes: ``layers.{n}.mlp.{p}_proj.{t}`` on their side and on ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

HOLE = re.compile(r"\{([a-z]+)(?::([^{}]+))?\}")
"""``{n}`` is a number; ``{rest}`` anything; any other ``{name}`` a word without a dot, or ``{name:one|two}`` one of
some words.
"""


@cache
def holes(pattern: str) -> tuple[str, ...]:
    """Names of the holes in order, each once."""
    return tuple(dict.fromkeys(match[1] for match in HOLE.finditer(pattern)))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts: list[str] = []
    at = 0
    seen: set[str] = set()
    for match in HOLE.finditer(pattern):
        parts.append(re.escape(pattern[at : match.start()]))
        name, words = match[1], match[2]
        if name in seen:
            parts.append(f"(?P={name})")
        else:
            inner = "|".join(re.escape(word) for word in words.split("|")) if words else _usual(name)
            parts.append(f"(?P<{name}>{inner})")
        seen.add(name)
        at = match.end()
    return re.compile("".join(parts) + re.escape(pattern[at:]))


def _usual(name: str) -> str:
    if name == "rest":
        return ".+"
    return r"0|[1-9][0-9]*" if len(name) == 1 and name in "neijk" else r"[A-Za-z0-9_]+?"


def match(pattern: str, name: str) -> dict[str, str] | None:
    """What fills the holes of ``pattern`` to give ``name``, or None."""
    found = _compiled(pattern).fullmatch(name)
    return None if found is None else found.groupdict()


def filled(pattern: str, values: Mapping[str, str]) -> str:
    """The name that a pattern gives; holes without a value stay."""
    return HOLE.sub(lambda hole: values.get(hole[1], hole[0]), pattern)


def admits(pattern: str, values: Mapping[str, str]) -> bool:
    """Whether the holes that list their words have one of them."""
    return all(
        hole[2] is None or hole[1] not in values or values[hole[1]] in hole[2].split("|")
        for hole in HOLE.finditer(pattern)
    )
