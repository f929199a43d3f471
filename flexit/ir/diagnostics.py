"""The table of codes: what each stable code stands for. Codes are never reused; ``docs/errors.md`` explains them."""

from __future__ import annotations

from flexit.errors import Problem

TITLES: dict[str, str] = {
    "FX0100": "no such file or preset",
    "FX0101": "not UTF-8 text",
    "FX0102": "not YAML or JSON",
    "FX0103": "a key written twice",
    "FX0104": "a tag",
    "FX0105": "over a bound on size, nesting or aliases",
    "FX0106": "a number that is not finite, or too large",
    "FX0107": "empty, or not a mapping",
    "FX0108": "language version",
    "FX0109": "a model beyond the limits",
    "FX0110": "a run config in place of a spec, or the reverse",
    "FX0201": "unknown field",
    "FX0202": "required field missing",
    "FX0203": "unknown kind, or one for later",
    "FX0204": "a kind in the wrong place",
    "FX0205": "wrong type",
    "FX0206": "out of range",
    "FX0207": "not one of the words",
    "FX0208": "null where nothing can be off",
    "FX0209": "bad name",
    "FX0301": "a name that resolves to nothing",
    "FX0302": "an edge of the wrong type",
    "FX0303": "a cycle",
    "FX0304": "a name that would shadow another",
    "FX0305": "ports",
    "FX0306": "something that nobody reads",
    "FX0307": "nothing to chain from",
    "FX0308": "each: without a fitting stack",
    "FX0309": "two inputs with one companion",
    "FX0401": "widths differ",
    "FX0402": "lengths differ",
    "FX0403": "n_heads does not divide the width",
    "FX0404": "a number that does not divide, or exceeds its pool",
    "FX0405": "a width that rotation or a table cannot use",
    "FX0406": "numbers that do not go together",
    "FX0501": "a value without effect",
    "FX0502": "not possible over another sequence",
    "FX0503": "score biases in conflict",
    "FX0504": "norm placement",
    "FX0505": "parallel form",
    "FX0506": "sub-layers",
    "FX0507": "buckets, or readers of one bias that differ",
    "FX0508": "token types and token ids",
    "FX0509": "a window as long as the longest sequence",
    "FX0510": "an init entry that reaches no parameter",
    "FX0511": "fields that go only in pairs",
    "FX0512": "not possible with packed documents",
    "FX0601": "no such variant",
    "FX0602": "a variant that no layer uses",
    "FX0603": "a variant that changes nothing",
    "FX0604": "keys of layers",
    "FX0607": "a mapping merged into a scalar",
    "FX0608": "sets of shared layers",
    "FX0701": "nothing to tie to or share with",
    "FX0702": "a tie that does not fit",
    "FX0703": "sharing that does not fit",
    "FX0704": "no vocabulary for a head",
    "FX0801": "no causal path for the task",
    "FX0901": "pre-norm without a final norm",
    "FX0902": "no position information",
}
"""Code -> title."""

WARNINGS = frozenset({"FX0901", "FX0902"})
"""Codes that stop nothing unless warnings are made errors."""


def problem(code: str, *, path: str, message: str, expected: str, found: str, cure: str) -> Problem:
    """A problem of a known code, without a place yet; an empty text that was found is shown as one."""
    assert code in TITLES, code
    return Problem(
        code=code, path=path, message=message, expected=expected, found=found or '""', cure=cure,
        warning=code in WARNINGS,
    )  # fmt: skip
