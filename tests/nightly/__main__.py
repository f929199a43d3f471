"""``python -m tests.nightly``: what takes hours, in as many runs as it needs; writes ``docs/fuzzing.md``."""

from __future__ import annotations

import argparse
import time

from tests.fuzz.day import drawn_day
from tests.nightly import page, pairs, rows, specs
from tests.nightly.journal import RUNS, SOURCES, journals


def main() -> None:
    """Go on with what is not done, and write what is known."""
    parser = argparse.ArgumentParser(prog="nightly", description=__doc__)
    parser.add_argument("--seed", type=int, help="by default that of the last run, or the day (FLEXIT_FUZZ_DAY)")
    parser.add_argument("--specs", type=int, default=1000, help="how many specs are to go the whole way")
    parser.add_argument("--minutes", type=float, help="stop after so long; a later run goes on")
    parser.add_argument("--parts", nargs="*", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("--mended", action="store_true", help="run again only what was a fault in earlier sources")
    asked = parser.parse_args()
    seed = last_seed() if asked.seed is None else asked.seed
    ends = None if asked.minutes is None else time.monotonic() + 60 * asked.minutes
    found = journals(seed, mended=asked.mended)

    def go_on() -> bool:
        return ends is None or time.monotonic() < ends

    print(f"seed {seed}, results in {RUNS / str(seed)}", flush=True)
    specs.run_again(found["specs"])
    rows.run_again(found["rows"])
    if "specs" in asked.parts:
        specs.run(found["specs"], seed, asked.specs, go_on=go_on)
    if "rows" in asked.parts:
        rows.run(found["rows"], seed, go_on=go_on)
    if "pairs" in asked.parts:
        pairs.run(found["pairs"], go_on=go_on)
    page.write(seed, found)
    print(f"{page.PAGE} written", flush=True)


def last_seed() -> int:
    """That of the last run, the day if there is none."""
    runs = sorted(RUNS.glob("*/*.jsonl"), key=lambda file: file.stat().st_mtime)
    return int(runs[-1].parent.name) if runs else drawn_day()


if __name__ == "__main__":
    main()
