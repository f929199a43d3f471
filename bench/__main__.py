"""``python -m bench [PART ...]``: measures, prints, and puts each table into ``docs/performance.md``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import checking, emission, importing, loading, rivals, training
from bench.report import Section

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

Measured by `make bench`, which writes this page, or by `python -m bench PART`, which writes its table anew. Compare
inside a table only: machines differ, and these are shared. Training on a GPU was not measured.
"""


def main() -> None:
    """Measure the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them by default")
    chosen = parser.parse_args().parts or list(PARTS)
    for name in chosen:
        section = PARTS[name]()
        print(section, flush=True)
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), section), encoding="utf-8")
    print(f"{PAGE} written")


def with_section(page: str, section: Section) -> str:
    """The page with a section in the place of the one of its title, or at the end."""
    _, *parts = page.split("\n## ")
    titled = {part.partition("\n")[0]: f"## {part.strip()}\n" for part in parts}
    titled[section.title] = str(section)
    return HEAD + "".join(f"\n{part}" for part in titled.values())


if __name__ == "__main__":
    main()
