"""A comparison as a table: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import flexit
from flexit.files.folder import write_file
from flexit.ir.views.tree import short
from flexit.runtime.compare.plan import Comparison
from flexit.runtime.compare.results import CANNOT, Outcome, Spread, length_metric
from flexit.runtime.runs.folder import VALIDATION
from flexit.runtime.train.callbacks.progress import clock

HELD_OUT = "validation_"
LOSS = "held-out loss"


def table(found: Comparison, outcomes: Sequence[Outcome]) -> list[list[str]]:
    """The table, its heading first: a row for each variant."""
    match, lengths = found.config.match, found.config.extrapolate
    others = _others(outcomes)
    heading = ["variant", "parameters", *(["off"] if match is not None else []), "FLOPs/token", "seeds", LOSS, "lowest"]
    heading += [name.removeprefix(HELD_OUT).replace("_", " ") for name in others]
    by = length_metric(outcomes)
    heading += [f"{by.removeprefix(HELD_OUT).replace('_', ' ')} at {length}" for length in lengths]
    heading += ["time", *(["what is missing"] if any(_missing(each) for each in outcomes) else [])]
    rows = [heading]
    for each in outcomes:
        size = each.case.sized
        row = [each.case.name, short(each.case.parameters)]
        row += [] if match is None else [f"{100 * size.gap:+.2f} %" if size is not None else ""]
        row += [short(round(3 * each.case.flops)), str(len(each.results)), _told(each.spread("metrics", VALIDATION))]
        row += [_told(each.spread("best")), *(_told(each.spread("metrics", name)) for name in others)]
        row += [_told(each.spread("lengths", str(length), by)) or _cannot(each, length) for length in lengths]
        seconds = each.spread("seconds")
        row.append("" if seconds is None else clock(seconds.mean))
        rows.append(row + ([_missing(each)] if "what is missing" in heading else []))
    return rows


def markdown(rows: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A table as Markdown, with notes below it."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    right = ["---" if name in ("variant", "what is missing") else "---:" for name in rows[0]]
    lines = [f"| {' | '.join(row)} |" for row in (cells[0], right, *cells[1:])]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def notes(found: Comparison) -> list[str]:
    """What has to be said of a table: what was matched, and what the figures are."""
    match = found.config.match
    sized = [case for case in found.cases if match is not None and case.sized is not None and case.sized.sets]
    return [
        "Mean over the seeds ± sample standard deviation. FLOPs are those of training, for each token.",
        *(f"{case.name}: {', '.join(case.sized.sets)}, to match {match.by}." for case in sized if match and case.sized),
    ]


def write_all(found: Comparison, outcomes: Sequence[Outcome]) -> None:
    """``results.json``, ``results.csv`` and ``results.md`` in the folder of a comparison.

    Raises:
        ResourceError: FX1304, the disk refused.
    """
    data = {
        "flexit": flexit.__version__, "seeds": list(found.config.seeds), "lengths": list(found.config.extrapolate),
        "variants": [each.data() for each in outcomes],
    }  # fmt: skip
    write_file(found.out / "results.json", json.dumps(data, indent=1) + "\n")
    write_file(found.out / "results.csv", _lines(found, outcomes))
    rows = table(found, outcomes)
    write_file(found.out / "results.md", markdown(rows, notes(found)))


def _lines(found: Comparison, outcomes: Sequence[Outcome]) -> str:
    """A line for each run."""
    metrics = sorted({name for each in outcomes for name in each.metrics})
    lengths = [str(length) for length in found.config.extrapolate]
    at = [(length, name) for length in lengths for name in sorted(_at_lengths(outcomes))]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["variant", "seed", "parameters", "forward_flops_per_token", "state", "steps", "tokens", "seconds"]
    writer.writerow([*head, *metrics, "best", *(f"{name}_at_{length}" for length, name in at)])
    for each in outcomes:
        for seed in found.config.seeds:
            result = each.results.get(seed, {})
            state = "finished" if result else each.failures.get(seed, "unfinished")
            values = [result.get("metrics", {}).get(name, "") for name in metrics]
            reached = [result.get("lengths", {}).get(length, {}).get(name, "") for length, name in at]
            own = [each.case.name, seed, each.case.parameters, each.case.flops, state]
            own += [result.get(name, "") for name in ("step", "tokens", "seconds")]
            writer.writerow([*own, *values, result.get("best", ""), *reached])
    return stream.getvalue()


def _at_lengths(outcomes: Sequence[Outcome]) -> set[str]:
    results = (result for each in outcomes for result in each.results.values())
    return {name for result in results for found in result["lengths"].values() for name in found if name != CANNOT}


def _others(outcomes: Sequence[Outcome]) -> list[str]:
    """Held-out metrics beside the loss."""
    known = {name for each in outcomes for name in each.metrics if name.startswith(HELD_OUT)}
    return sorted(known - {VALIDATION})


def _told(spread: Spread | None) -> str:
    if spread is None:
        return ""
    deviation = spread.deviation
    return f"{spread.mean:.4f}" if deviation is None else f"{spread.mean:.4f} ± {deviation:.4f}"


def _cannot(outcome: Outcome, length: int) -> str:
    why = outcome.cannot(length)
    return "" if why is None else f"cannot: {why.removeprefix('its ')}"


def _missing(outcome: Outcome) -> str:
    failed = [f"seed {seed} failed: {why}" for seed, why in outcome.failures.items()]
    left = [f"seed {seed} is not finished" for seed in outcome.unfinished]
    return "; ".join([*failed, *left])


def pictures(out: Path) -> list[Path]:
    """Where the pictures of a comparison lie."""
    return [out / "results.png", out / "results.svg"]
