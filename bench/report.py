"""What a measurement is reported as, and the machine it was made on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the page, with the sentence that says what was done."""

    title: str
    text: str
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        head, *rest = self.rows
        lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest)]
        return f"## {self.title}\n\n{self.text}\n\n" + "\n".join(lines) + f"\n\n{machine()}\n"


def machine() -> str:
    """Processor, cores and versions."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnx", "onnx-ir", "onnxruntime"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; Python {platform.python_version()}, {libraries}."
    )


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.machine())


def spread(numbers: Sequence[float], form: str = ".2f") -> str:
    """``median (smallest to largest)``."""
    return f"{median(numbers):{form}} ({min(numbers):{form}} to {max(numbers):{form}})"
