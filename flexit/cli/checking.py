"""Reading specs for the commands: which files a path means, and what came of each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flexit.errors import Problem, SpecError, UserError
from flexit.ir.io.load import check, check_text
from flexit.ir.io.places import ADAPTER, CARRIED, MANIFEST, RUN, WEIGHTS
from flexit.ir.io.source import MAX_BYTES
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.ir.wording import shown

ENDINGS = (".yaml", ".yml", ".json")
WRITTEN = (RUN, MANIFEST, WEIGHTS, ADAPTER)
"""What folders have that flexit wrote: a run, a bundle, a checkpoint. Their spec was checked before it was written."""
NO_SPECS = (*CARRIED, "tokenizer_config.json")
"""Documents that may lie beside specs, and are none."""
SCHEMA = ".schema.json"
MOST_DIGITS = 9
OTHER_LANGUAGE, NOT_THERE = "FX0110", "FX0100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One file that was checked; ``problems`` of a valid one are warnings."""

    file: str
    valid: bool
    problems: tuple[Problem, ...]
    summary: str = ""

    @property
    def verdict(self) -> str:
        """What came of it, in words."""
        if self.valid:
            return f"valid, {self.summary}"
        return "not found" if {problem.code for problem in self.problems} == {NOT_THERE} else "not valid"

    @property
    def is_run_config(self) -> bool:
        """Whether it is no spec at all, but says how one is trained."""
        return any(problem.code == OTHER_LANGUAGE for problem in self.problems)


def files_in(path: str) -> list[str]:
    """The file or preset itself, or every document in a folder and below.

    Raises:
        UserError: a folder without any.
    """
    if not Path(path).is_dir():
        return [path]
    found = sorted(_below(path))
    if not found:
        raise UserError.of(
            "FX1103", f"{path} holds no specs", found="none",
            expected=f"files that end in {', '.join(ENDINGS)}, not in a run, checkpoint or bundle",
            cure="give a file, or another folder", path=path,
        )  # fmt: skip
    return found


def _below(folder: str) -> Iterator[str]:
    """Documents in a folder and below, without hidden ones and what flexit wrote beside models."""
    for place, folders, names in os.walk(folder):
        ours = any(name in WRITTEN for name in names)
        folders[:] = [name for name in folders if not ours and not name.startswith(".")]
        documents = (name for name in names if Path(name).suffix in ENDINGS and not name.startswith("."))
        documents = (name for name in documents if name not in NO_SPECS and not name.endswith(SCHEMA))
        yield from () if ours else (str(Path(place) / name) for name in documents)


def examine(file: str, sets: Sequence[str] = (), max_bytes: int | None = None) -> Examined:
    """Check one file."""
    from flexit.ir.analysis.cost import count_parameters
    from flexit.ir.views.tree import short

    checked = check(file, sets=sets, max_bytes=MAX_BYTES if max_bytes is None else max_bytes)
    if checked.program is None:
        return Examined(file=file, valid=False, problems=checked.problems)
    summary = f"{short(count_parameters(checked.program))} parameters"
    return Examined(file=file, valid=True, problems=checked.problems, summary=summary)


def loaded(file: str, sets: Sequence[str] = (), *, family: str | None = None) -> tuple[Spec, Program]:
    """A valid spec and its program; of another library's checkpoint, the spec that it is, read as that of a family.

    Raises:
        SpecError: it is not valid.
        SourceError: the checkpoint cannot be understood.
        UserError: FX2004, a family is named for something else.
    """
    text = _foreign(file, family)
    if text is None:
        require_foreign(file, family)
    checked = check(file, sets=sets) if text is None else check_text(text, f"{file} as a spec", sets=sets)
    if checked.spec is None or checked.program is None:
        raise SpecError(problem for problem in checked.problems if not problem.warning)
    return checked.spec, checked.program


def require_foreign(path: str, family: str | None) -> None:
    """Refuse a family for what says itself what it is.

    Raises:
        UserError: FX2004.
    """
    if family is not None:
        raise UserError.of(
            "FX2004", "--as is of other libraries' checkpoints", path="as",
            expected="a folder with config.json, a .gguf file, or the id of a cached model", found=path,
            cure="leave it out",
        )  # fmt: skip


def _foreign(file: str, family: str | None = None) -> str | None:
    """The spec of another library's checkpoint as YAML, None of anything else; only a folder or file can be one."""
    if not (os.path.isdir(file) or file.endswith(".gguf") or ("/" in file and not os.path.exists(file))):
        return None
    from flexit.convert.sources.source import is_source

    if not is_source(file):
        return None
    from flexit.convert.pretrained import spec_of
    from flexit.ir.io.emit import to_yaml

    return to_yaml(spec_of(file, family=family))


def as_data(result: Examined) -> dict[str, Any]:
    """A result as JSON data."""
    return {"file": result.file, "valid": result.valid, "problems": [asdict(problem) for problem in result.problems]}


def lengths(written: Sequence[str]) -> int | dict[str, int] | None:
    """``--seq`` as the library takes it.

    Raises:
        UserError: not a number, one too large, or several without names or with the same.
    """
    named: dict[str, int] = {}
    for entry in written:
        name, equals, number = entry.rpartition("=")
        wrong = not number.isascii() or not number.isdigit() or len(number) > MOST_DIGITS
        if wrong or name in named or (not equals and len(written) > 1):
            raise UserError.of(
                "FX1101", "not a length", found=shown(entry), expected="a number below 10^9, or LENGTH=N once for each",
                cure="write --seq 512, or --seq seq=512 --seq decoder_seq=64", path="seq",
            )  # fmt: skip
        if not equals:
            return int(number)
        named[name] = int(number)
    return named or None
