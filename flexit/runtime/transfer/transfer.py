"""``transfer``: the weights of one model as first weights of another, with an account of every tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flexit.convert.tensors import LazyTensor
from flexit.errors import Problem, UserError
from flexit.files.folder import PARTIAL, writing
from flexit.files.safetensors import Progress, write_safetensors
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec
from flexit.ir.io.places import WEIGHTS
from flexit.ir.spec import Spec
from flexit.runtime.opening import weights_at
from flexit.runtime.train.describe import config_data, spec_json
from flexit.runtime.train.wrong_fields import explained
from flexit.runtime.transfer import report
from flexit.runtime.transfer.compare import SAME, Compared, compare
from flexit.runtime.transfer.options import Options
from flexit.runtime.transfer.plan import Plan, Side, plan, rows_of_tokens
from flexit.runtime.transfer.values import Values
from flexit.runtime.transfer.vocabulary import GENERATION, TOKENIZER, Rows, by_token, renumbered, tokens_in
from flexit.version import __version__

MARKER = "transfer.json"
LABELS = "labels.json"


@dataclass(frozen=True, slots=True)
class Transferred:
    """A model that begins with the weights of another.

    Attributes:
        spec: what it is.
        weights: its tensors by name, each worked out when it is asked for.
        files: what goes with it, by name.
        plan: what became of every tensor.
        compared: whether it computes what the old one does, where that was asked.
        place: where the old one is.
        options: what was chosen.
        warnings: what was left behind.
    """

    spec: Spec
    weights: Mapping[str, LazyTensor] = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    plan: Plan = field(repr=False)
    compared: Compared | None
    place: str
    options: Options
    warnings: tuple[Problem, ...] = ()

    @property
    def table(self) -> list[list[str]]:
        """What became of every tensor, as lines of cells."""
        return report.rows(self.plan)

    @property
    def summary(self) -> str:
        """How many tensors were kept, made and dropped."""
        return report.summary(self.plan)

    def account(self) -> dict[str, Any]:
        """What became of every tensor, as JSON data."""
        told = {"from": self.place, "options": config_data(self.options), **report.data(self.plan)}
        if self.compared is not None:
            told["compared"] = {"same": self.compared.same, "differences": dict(self.compared.differences)}
        return told

    def save(self, folder: str | Path, *, force: bool = False, progress: Progress | None = None) -> None:
        """Write a checkpoint, with ``transfer.json`` beside; at most a few tensors are in memory.

        Raises:
            UserError: the folder may not be written.
            ResourceError: FX1304, the operating system refused.
        """
        with writing(folder, marker=MARKER, force=force) as temporary:
            (temporary / "spec.json").write_text(spec_json(self.spec), encoding="utf-8")
            write_safetensors(temporary / WEIGHTS, self.weights, metadata={"format": "pt"}, progress=progress)
            for name, content in self.files.items():
                (temporary / name).write_bytes(content)
            files = sorted(path.name for path in temporary.iterdir() if path.name != PARTIAL)
            told = {"flexit": __version__, **self.account(), "files": files}
            (temporary / MARKER).write_text(json.dumps(told, indent=1), encoding="utf-8")


def transfer(
    old: str | PathLike[str], new: Spec | str | PathLike[str], *,
    tokenizer: str | PathLike[str] | bytes | None = None, options: Options | Mapping[str, Any] | None = None,
    seed: int = 0, compared: bool = True, same: bool = False,
) -> Transferred:  # fmt: skip
    """Let a model begin with the weights of another.

    Args:
        old: a checkpoint, a run, or another library's checkpoint.
        new: the spec of the new model.
        tokenizer: its ``tokenizer.json``, if that is another: rows then go with the tokens.
        options: how, as :class:`~flexit.runtime.transfer.options.Options` or a mapping of its fields.
        seed: of what is drawn anew.
        compared: whether both models are run, to tell whether they compute the same.
        same: whether it is an error if they do not.

    Raises:
        UserError: FX2201 to FX2206, what cannot be said, with every tensor.
        SpecError: the new spec is not valid.
    """
    chosen = options_of(options)
    place = fspath(old)
    spec, weights, files = weights_at(place)
    target = new if isinstance(new, Spec) else load_spec(fspath(new))
    sides = Side(spec, compile_spec(spec)), Side(target, compile_spec(target))
    content = tokenizer if isinstance(tokenizer, bytes | None) else _read(Path(tokenizer))
    rows, lost = None, list[str]()
    if content is not None and content != files.get(TOKENIZER):
        rows, lost = _retokenized(sides, files, content)
    planned = plan(*sides, chosen, rows=rows)
    heads = {param.path for param in sides[1].program.params() if param.role == "head"}
    if any(step.what == "made" and step.path in heads for step in planned.steps):
        files.pop(LABELS, None)
    values = Values(
        planned, weights, spec=target, program=sides[1].program, seed=seed, mean=chosen.new_tokens == "mean"
    ).tensors()  # fmt: skip
    found = None
    if compared or same:
        both = [(side.spec, side.program, arrays) for side, arrays in zip(sides, (weights, values), strict=True)]
        found = compare(both[0], both[1], rows=planned.rows)
        if same and not found.same:
            raise _other_function(found)
    warnings = tuple(_left_out(key) for key in lost)
    return Transferred(target, values, files, planned, found, place, chosen, warnings)


def options_of(given: Options | Mapping[str, Any] | None) -> Options:
    """Options from a mapping of their fields.

    Raises:
        UserError: a field is wrong.
    """
    if isinstance(given, Options):
        return given
    try:
        return Options.model_validate(dict(given or {}))
    except ValidationError as error:
        raise explained(Options, given or {}, error) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError.of(
            "FX2203", f"{path} cannot be read", path="tokenizer", expected="a tokenizer.json",
            found=error.strerror or str(error), cure="correct the path",
        ) from error  # fmt: skip


def _retokenized(sides: tuple[Side, Side], files: dict[str, bytes], content: bytes) -> tuple[Rows, list[str]]:
    """Where the rows of tokens go, and what the files say that has no token any more; files are changed."""
    before, after = (rows_of_tokens(side.program) for side in sides)
    if TOKENIZER not in files or before is None or after is None:
        raise UserError.of(
            "FX2203", "the old vocabulary is not known", path="tokenizer",
            expected="tables of tokens in both models, and a tokenizer.json with the old one",
            found="no tokenizer.json" if TOKENIZER not in files else "no table of tokens",
            cure="leave the new tokenizer out, if its ids are the old ones; rows then keep their numbers",
        )  # fmt: skip
    old, new = tokens_in(files[TOKENIZER], "the old tokenizer"), tokens_in(content, "the new tokenizer")
    rows = by_token(old, new, n_old=before, n_new=after)
    files[TOKENIZER] = content
    for name in ("special_tokens_map.json", "chat_template.jinja"):
        files.pop(name, None)  # of the old tokenizer
    return rows, renumbered(files, old, new)


def _left_out(key: str) -> Problem:
    return Problem(
        code="FX2207", path=f"{GENERATION}: {key}", message="names a token that the new vocabulary has not",
        expected="a token of both", found="one of the old alone", cure=f"write {key} into {GENERATION} yourself",
        warning=True,
    )  # fmt: skip


def _other_function(found: Compared) -> UserError:
    return UserError.of(
        "FX2204", "the new model does not compute what the old one does", path="same",
        expected=f"outputs that differ by at most {SAME:.0e} of the largest", found=found.said,
        cure="change the new spec or the options, or leave same out",
    )  # fmt: skip
