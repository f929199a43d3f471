"""``python -m bench.presets [NAME ...]``: proves presets at full size; their rows go into ``docs/presets.md``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from bench.processes import run
from flexit.ir.analysis.cost import cost
from flexit.ir.io.load import load_spec, presets

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
HEADING = "## Proven at full size\n"
MOST = 300_000_000
"""Parameters of what is run."""

PROVE = """
import tempfile
import flexit
with tempfile.TemporaryDirectory(prefix="flexit-bench-") as folder:
    bundle = flexit.export(flexit.to_torch(flexit.load_spec(sys.argv[2]), seed=0), folder + "/bundle")
    assert flexit.verify(folder + "/bundle").holds
evidence = bundle.manifest["evidence"]
tokens = [row["tokens"] for row in evidence["rows"]]
notes = {
    "cases": sum(row["cases"] for row in evidence["rows"]), "error": evidence["error"],
    "compared": sum(one["compared"] for one in tokens), "different": sum(one["different"] for one in tokens),
}
"""


def small_enough() -> list[str]:
    """Presets that are run when none is named, the smallest first."""
    sizes = {name: cost(load_spec(name)).parameters for name in presets()}
    return sorted((name for name in sizes if sizes[name] < MOST), key=lambda name: sizes[name])


def main() -> None:
    """Prove one preset after another, each in a process of its own; a row is written as soon as it is there."""
    parser = argparse.ArgumentParser(prog="bench.presets", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"presets; by default those under {MOST:,} parameters")
    for name in parser.parse_args().names or small_enough():
        taken = run(PROVE, [name])
        cases, error, compared, different = (taken.notes[key] for key in ("cases", "error", "compared", "different"))
        tokens = f"{compared - different:,} of {compared:,}" if compared else "does not decode"
        row = f"| `{name}` | {cost(load_spec(name)).parameters:,} | {cases} | {error:.1e} | {tokens} |"
        print(f"{row} {taken.wall:.0f} s, {taken.peak / 1e9:.1f} GB", flush=True)
        write(row)


def write(row: str) -> None:
    """Put a row in its place in the page, instead of the one that was there."""
    text = PAGE.read_text(encoding="utf-8")
    before, heading, after = text.partition(HEADING)
    rows = re.findall(r"^\| `.*$", after, flags=re.MULTILINE)
    first = re.match(r"\| `\S+` \|", row)
    assert first is not None
    kept = [other for other in rows if not other.startswith(first[0])]
    end = after.index("| --- |")
    end = after.index("\n", end) + 1
    PAGE.write_text(before + heading + after[:end] + "\n".join(sorted([*kept, row])) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
