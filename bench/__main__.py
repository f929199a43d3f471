"""``python -m bench [PART ...]``: measures and prints; when all parts ran, writes ``docs/performance.md``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import checking, emission, importing, loading, rivals, training
from bench.report import Section, machine

PARTS = {
    "training": training.measure,
    "rivals": rivals.measure,
    "loading": loading.measure,
    "emission": emission.measure,
    "checking": checking.measure,
    "importing": importing.measure,
}
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEAD = """\
# Performance

Measured by `make bench`, which writes this page. Compare inside a table only: machines differ, and this one is shared.

"""


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them by default")
    chosen = parser.parse_args().parts or list(PARTS)
    sections: list[Section] = []
    for name in chosen:
        sections.append(PARTS[name]())
        print(sections[-1], flush=True)
    if chosen == list(PARTS):
        PAGE.write_text(f"{HEAD}{machine()}\n\n" + "\n".join(map(str, sections)), encoding="utf-8")
        print(f"{PAGE} written")


if __name__ == "__main__":
    main()
