"""Where a text stops being YAML, and what to do about it, from what the scanner says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line, as the scanner counts lines."""
BARE_KEY = re.compile(r"(?:^|[{,\[])\s*(?P<key>:[^\s,{}\[\]]*)(?:\s+:)?")
"""A key in braces that begins with a colon. YAML 1.2 allows it without quotes, the scanner does not."""
CODE_POINT = re.compile(r"\\U([0-9a-fA-F]{8})")
LAST_CHARACTER = 0x10FFFF
ESCAPED = r"write \\ for a backslash, or put the text in single quotes, where it stands for itself"
NEAR = 80
END = "the end of the document"


@dataclass(frozen=True, slots=True)
class Misread:
    """What is wrong with a text; line and column from 1."""

    line: int
    column: int
    message: str
    expected: str
    found: str
    cure: str


def explain(error: Any, text: str) -> Misread:
    """What a ``MarkedYAMLError``, whose attributes have no types, says about a text."""
    place, began = error.problem_mark or error.context_mark, error.context_mark
    line, column = (place.line, place.column) if place is not None else (0, 0)
    context = re.sub(r"while |(parsing|scanning) ", "", error.context or "")
    context = "" if context.startswith("for ") else context
    lines = BREAK.split(text)
    key = _bare_key(lines[line] if line < len(lines) else "", column) if "flow" in context else None
    if key is not None:
        return Misread(
            line + 1, key[0] + 1, "a key that begins with a colon and has no quotes", "quotes around it", key[1],
            f'write "{key[1]}" with the quotes',
        )  # fmt: skip
    where = f", in {context} that began on line {began.line + 1 if began is not None else 1}" if context else ""
    what = (error.problem or "no valid text").strip()
    parts = re.fullmatch(r"expected (.*), but (?:found|got) (.*)", what, re.DOTALL)
    expected, found = parts.groups() if parts else ("text that YAML 1.2 allows here", what.removeprefix("found "))
    if "stream end" in found or "end of stream" in found:
        found, (line, column) = END, _end(lines)
    found = "a tab, which cannot indent" if "\\t" in found else found
    cure = ESCAPED if "escape" in f"{expected} {found}" else _cure(found, context)
    return Misread(line + 1, column + 1, f"not YAML or JSON{where}", expected, found, cure)


def beyond_unicode(text: str, start: int) -> Misread | None:
    """The first escape from a place of the text on that stands for no character; None if there is none."""
    for match in CODE_POINT.finditer(text, start):
        if int(match[1], 16) > LAST_CHARACTER:
            before = BREAK.split(text[: match.start()])
            return Misread(
                len(before), len(before[-1]) + 1, "an escape for no character", "at most \\U0010FFFF", match[0], ESCAPED
            )
    return None


def _bare_key(line: str, column: int) -> tuple[int, str] | None:
    """The key around a column that begins with a colon and has no quotes, and where; None if that is not there."""
    start = max(0, column - NEAR)
    for match in BARE_KEY.finditer(line[start : column + NEAR]):
        if start + match.start("key") <= column <= start + match.end():
            return start + match.start("key"), match["key"].removesuffix(":") or ":"
    return None


def _end(lines: list[str]) -> tuple[int, int]:
    """Where the last line that says something ends."""
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index].rstrip()
        if line and not line.lstrip().startswith("#"):
            return index, len(line)
    return 0, 0


def _cure(found: str, context: str) -> str:
    if "tab" in found:
        return "indent with spaces"
    if "flow" in context and found == "'['":
        return "put quotes around text that has brackets in it, or add the comma that is missing"
    if "flow" in context:
        return "close the bracket, or add the comma that is missing"
    if "quoted" in context:
        return "close the quote"
    return "correct the indentation or the punctuation near here"
