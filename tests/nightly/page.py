"""What was found, as ``docs/fuzzing.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from bench.report import Section, machine
from tests.fuzz.occurrences import owner_of, vocabulary
from tests.nightly.frames import FRAMES
from tests.nightly.journal import FAULTS, ROOT, Journal, Line
from tests.nightly.knobs import settings
from tests.nightly.specs import is_whole

PAGE = ROOT / "docs" / "fuzzing.md"
ENOUGH = 5
"""In how many specs everything is to occur."""
HEAD = """\
# Fuzzing

Written by `make nightly`, which goes on where it stopped. Specs are drawn from the classes of the language by a seed;
the legality of each is judged a second time by a predicate that shares nothing with flexit (`tests/fuzz/legality.py`).
A spec goes the whole way when a training step is finite, its parameters are as many as predicted, it exports with
proof, the bundle verifies, and both sessions generate the same tokens if it can continue text. It is inconclusive when
its numbers do not decide, for the reasons that are counted below.

"""


def write(seed: int, journals: Mapping[str, Journal]) -> None:
    """Write the page."""
    lines = {name: list(journal.results.values()) for name, journal in journals.items()}
    spent = sum(line.get("seconds", 0.0) for found in lines.values() for line in found)
    about = (
        f"flexit of commit {_commits([line for found in lines.values() for line in found])}, "
        f"seed {seed}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, "
        f"{spent / 60:.0f} minutes of work. {machine()}"
    )
    sections = [*_specs(lines["specs"]), *_vocabulary(lines["specs"]), _pairs(journals["pairs"]), _rows(lines["rows"])]
    faults = _faults([*lines["specs"], *lines["rows"]], [one for line in lines["pairs"] for one in line["wrong"]])
    PAGE.write_text(f"{HEAD}{about}\n\n" + "\n".join(map(str, sections)) + faults, encoding="utf-8")


def _commits(lines: Sequence[Line]) -> str:
    """What made the results: one commit, or several, the later ones after faults that earlier ones had were mended."""
    counts = Counter(line["commit"] for line in lines)
    names = list(dict.fromkeys(line["commit"] for line in sorted(lines, key=lambda line: -counts[line["commit"]])))
    if len(names) < 2:
        return "".join(names) or "unknown"
    told = ", ".join(f"{name} ({counts[name]:,} results)" for name in names)
    return f"{told}: what was a fault at one was mended and run again at the next"


def _specs(lines: Sequence[Line]) -> list[Section]:
    outcomes = Counter(line["outcome"] for line in lines)
    open_ = Counter(line["why"] for line in lines if line["outcome"] == "inconclusive")
    accepted = sum(bool(line["names"]) for line in lines)
    share = f" ({accepted / len(lines):.0%})" if lines else ""
    rows = [
        ["generated", str(len(lines))],
        ["accepted", f"{accepted}{share}"],
        ["the whole way", str(sum(map(is_whole, lines)))],
        ["of them generating with a cache", str(outcomes["generated"])],
        *([f"inconclusive: {why}", str(count)] for why, count in open_.most_common()),
        ["judged otherwise than by the reference", str(outcomes["disagrees"])],
        ["mismatches", str(outcomes["mismatch"])],
        ["crashes", str(outcomes["crash"])],
    ]
    codes = Counter(code for line in lines for code in line["codes"])
    refused = [[code, str(count)] for code, count in sorted(codes.items())]
    return [
        Section("Generated specs", "A part of what is drawn is damaged on purpose.", [["what", "specs"], *rows]),
        Section("Refusals", "Specs by code; one may have several.", [["code", "specs"], *refused]),
    ]


def _vocabulary(lines: Sequence[Line]) -> list[Section]:
    whole = [line for line in lines if is_whole(line)]
    counts = Counter(name for line in whole for name in line["names"])
    rare = [f"`{name}` {counts[name]}" for name in vocabulary() if counts[name] < ENOUGH]
    said = f"In fewer than {ENOUGH}: {', '.join(rare)}." if rare else f"Each is in {ENOUGH} or more."
    by_owner: dict[str, dict[str, list[str]]] = {}
    for name, what in vocabulary().items():
        told = by_owner.setdefault(owner_of(name), {"kind": [], "field": [], "word": []})
        short = name.removeprefix(f"{owner_of(name)}.")
        told[what].append(str(counts[name]) if what == "kind" else f"{short} {counts[name]}")
    rows = [[f"`{owner}`", *(", ".join(told[what]) for what in told)] for owner, told in sorted(by_owner.items())]
    text = (
        f"In how many of the {len(whole)} specs that went the whole way each occurs, as written. What every block has "
        f"is listed under `Block`. {said}"
    )
    return [Section("Kinds, fields and words", text, [["class", "specs", "fields", "words"], *rows])]


def _pairs(journal: Journal) -> Section:
    rows = []
    for frame in FRAMES:
        known = settings(frame)
        found = [journal.results.get(f"{frame.name} {setting}") for setting in known]
        counts = Counter[str]()
        for line in found:
            counts.update(line["counts"] if line is not None else {})
        told = [f"{code} {count}" for code, count in sorted(counts.items()) if code.startswith("FX")]
        wrong = sum(len(line["wrong"]) for line in found if line is not None)
        rows.append([
            frame.name, str(len({setting.knob for setting in known})), f"{len(known)}",
            f"{len(found) - found.count(None)}", str(counts["accepted"]), str(counts["refused"]),
            str(counts["exclusive"]), str(wrong), ", ".join(told),
        ])  # fmt: skip
    text = (
        "Every value of every knob alone and with every other, through `check` and the reference. A value is done when "
        "it was checked with all later ones. Two values of one choice exclude each other. Wrong: not as the reference "
        "says, a code that `errors.md` does not explain, or no cure."
    )
    head = ["frame", "knobs", "values", "done", "accepted", "refused", "exclusive", "wrong", "codes"]
    return Section("Pairs of knob values", text, [head, *rows])


def _rows(lines: Sequence[Line]) -> Section:
    rows = []
    for frame in FRAMES:
        found = [line for line in lines if line.get("frame") == frame.name]
        outcomes = Counter(line["outcome"] for line in found)
        count = len(settings(frame))
        pairs = {pair for line in found for pair in _pairs_of(line["row"])}
        complete = any(line["key"] == f"{frame.name} complete" for line in lines)
        rows.append([
            frame.name, str(len(found)), str(len(pairs)), str(count * (count - 1) // 2),
            "yes" if complete else "not yet", str(outcomes["generated"]), str(outcomes["proven"]),
            str(outcomes["inconclusive"]), str(sum(outcomes[fault] for fault in FAULTS)),
        ])  # fmt: skip
    text = (
        "Rows of many values at once, each the whole way. An array is complete when every pair that `check` accepts is "
        "in a row; the others are refused or exclusive."
    )
    head = ["frame", "rows", "pairs in them", "of", "complete", "generated", "proven", "inconclusive", "faults"]
    return Section("Covering arrays", text, [head, *rows])


def _pairs_of(row: Sequence[int]) -> Iterable[tuple[int, int]]:
    return ((one, two) for at, one in enumerate(row) for two in row[at + 1 :])


def _faults(lines: Iterable[Line], wrong: Sequence[str]) -> str:
    told = [f"{line['key']}: {line['outcome']}, {line['why']}" for line in lines if line.get("outcome") in FAULTS]
    told += wrong
    if not told:
        return "\n## Faults\n\nNone.\n"
    return "\n## Faults\n\n" + "\n".join(f"* {' '.join(one.split())}" for one in told) + "\n"
