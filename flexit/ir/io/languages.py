"""The languages that are written alike, specs, run configs and compare files, and what is said where one stands for
another.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from flexit.errors import Problem
from flexit.ir.diagnostics import problem
from flexit.ir.faults import placed
from flexit.ir.io.flow import flow
from flexit.ir.language.written import Node
from flexit.ir.wording import several


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One of them.

    Attributes:
        name: how messages call a document of it.
        keys: what such a document must have beside ``flexit``.
        smallest: what an empty document lacks.
    """

    name: str
    keys: tuple[str, ...]
    smallest: str


SPEC = Language(
    name="a spec", keys=("name", "blocks"), smallest="flexit: 1, name: tiny, and blocks: with at least one block"
)
RUN_CONFIG = Language(
    name="a run config", keys=("model", "task", "data", "steps", "out"),
    smallest="flexit: 1, model: tiny.yaml, task: causal_lm, data: with train, seq_len and tokenizer, steps: 100"
    " and out: runs/first",
)  # fmt: skip
COMPARE = Language(
    name="a compare file", keys=("run", "out"),
    smallest="flexit: 1, run: run.yaml, variants: with at least one, and out: runs/compared",
)  # fmt: skip
OF_COMPARE = ("variants", "grid", "seeds", "match", "extrapolate")
"""Keys of which a compare file has one or the other."""
SMALLEST_RUN = {
    "task": "causal_lm", "data": {"train": {"kind": "text", "files": ["*.txt"]}, "seq_len": 64, "tokenizer": "bpe"},
    "steps": 100, "out": "runs/first",
}  # fmt: skip
FEWEST = 2
"""Keys of a run config that make a document without blocks one."""


def written_in(root: Node) -> Language | None:
    """Which language a document is in, as its keys tell; None where they do not."""
    if "blocks" in root.entries:
        return SPEC
    if "run" in root.entries and any(key in root.entries for key in OF_COMPARE):
        return COMPARE
    return RUN_CONFIG if sum(key in root.entries for key in RUN_CONFIG.keys) >= FEWEST else None


def mistaken(root: Node, wanted: Language) -> Problem | None:
    """FX0110, for a document that is written in the other language."""
    is_ = written_in(root)
    if is_ is None or is_ is wanted:
        return None
    file = root.mark.file if root.mark is not None else ""
    if is_ is COMPARE:
        cure = f"carry it out with flexit compare {shlex.quote(file)}, or give its run config"
    elif wanted is COMPARE and is_ is RUN_CONFIG:
        comparing = {"flexit": 1, "run": Path(file).name, "seeds": [0, 1], "out": "runs/compared"}
        cure = f"write a compare file that names it, such as {flow(comparing)}, and give that"
    else:
        cure = cure_for_spec(Path(file).name, place=" beside it") if is_ is SPEC else _cure_for_run_config(root, file)
    return placed(
        problem(
            "FX0110", path="", message=f"this is {is_.name}, not {wanted.name}",
            expected=f"a document with {several(wanted.keys)}",
            found=several(key for key in is_.keys if key in root.entries), cure=cure,
        ), root.mark,
    )  # fmt: skip


def cure_for_spec(model: str, *, place: str = "") -> str:
    """What to do where a run config was asked for.

    Args:
        model: the spec or preset that was given, as seen from the folder of the run config.
        place: where that is.
    """
    config = {"flexit": 1, "model": model, **SMALLEST_RUN}
    return f"write a run config{place} that names it, such as {flow(config)}, and give that"


def _cure_for_run_config(root: Node, file: str) -> str:
    model = root.entries["model"].value if "model" in root.entries else None
    place = Path(file).parent / model if isinstance(model, str) else None
    train = f"start it with flexit train {shlex.quote(file)}"
    if place is None:
        return train
    return f"give the model that it names, {shlex.quote(str(place if place.is_file() else model))}, or {train}"
