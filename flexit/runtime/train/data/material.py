"""The data of a run: found, compared with what the run began with, encoded once, and read from the run folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flexit.errors import RunConfigError, UserError
from flexit.ir.language.written import Node
from flexit.ir.program import Program
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.config import RunConfig
from flexit.runtime.train.data.examples import Examples
from flexit.runtime.train.data.files import located
from flexit.runtime.train.data.source import Records
from flexit.runtime.train.data.store import OnProgress, Row, Store, make_store, open_store, predicted_size
from flexit.runtime.train.describe import config_data
from flexit.runtime.train.identity import at, read_identity
from flexit.runtime.train.read import fault, placed_fault
from flexit.runtime.train.task import Setting

DATA = "data"
HELD_OUT = "held-out"
SHARED = "shared.json"
"""In a folder of data that several runs share: what it was made for."""
READ = ("data.train", "data.columns", "task")
"""What of a run config says how texts are read from records."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from, not yet encoded.

    Attributes:
        config: the run config.
        training: records to learn from.
        held_out: records to judge by, where they have a source of their own.
        setting: with the tokenizers and classes.
    """

    config: RunConfig
    training: Records
    held_out: Records | None
    setting: Setting

    @property
    def fingerprint(self) -> str:
        """Of all records."""
        if self.held_out is None:
            return self.training.fingerprint
        return _hash([self.training.fingerprint, self.held_out.fingerprint])

    @property
    def tokenizers(self) -> str:
        """Fingerprint of the tokenizers."""
        known = list(self.setting.tokenizers.values())
        return known[0].fingerprint if len(known) == 1 else _hash([each.fingerprint for each in known])

    def examples(self, out: Path, on_progress: OnProgress | None = None) -> tuple[Examples, Examples | None]:
        """What is trained on and what is held out, encoded in the run folder where it is not there yet.

        Raises:
            UserError: FX1610, a record lacks a column; or the source's own.
        """
        task, validation = self.config.task, self.config.data.validation
        share = None if validation is None else validation.split
        store = self._encoded(out / DATA, self.training, on_progress=on_progress)
        training, held_out = task.examples(store, self.setting, share)
        if self.held_out is not None:
            held_out, _ = task.examples(
                self._encoded(out / HELD_OUT, self.held_out, on_progress=on_progress), self.setting, None
            )
        return training, None if validation is None else held_out

    def to_encode(self, out: Path) -> int:
        """Predicted bytes of what is not encoded in a run folder yet.

        Raises:
            UserError: the source's own, or FX1610 of the first records.
        """

        def encode(values: Mapping[str, Any], place: str) -> Row:
            return self.config.task.encode(values, self.setting, place)

        both = ((DATA, self.training), (HELD_OUT, self.held_out))
        return sum(
            predicted_size(records, encode, size=records.size)
            for name, records in both
            if records is not None and ((store := open_store(out / name)) is None or not self._has(store, records))
        )

    def _has(self, store: Store, records: Records) -> bool:
        """Whether a store holds records, encoded as they are to be."""
        return (store.source, store.way) == (records.fingerprint, self._way())

    def _encoded(self, folder: Path, records: Records, *, on_progress: OnProgress | None) -> Store:
        store = open_store(folder)
        if store is None or not self._has(store, records):
            store = make_store(
                folder, self._rows(records), size=records.size, tokenizers=self.setting.tokenizers,
                source=records.fingerprint, way=self._way(), by=self.config.task.by, labels=self.setting.labels,
                on_progress=on_progress,
            )  # fmt: skip
        if len(store) == 0:
            place = "data.validation.source" if records is self.held_out else "data.train"
            raise UserError.of(
                "FX1603", "there are no records", path=place, expected="at least one", found="none",
                cure="name files that hold some",
            )  # fmt: skip
        return store

    def _rows(self, records: Records) -> Iterator[tuple[Row, int]]:
        for values, place, done in records:
            yield self.config.task.encode(values, self.setting, place), done

    def _way(self) -> str:
        task = config_data(self.config)["task"]
        setting = self.setting
        length = None if self.config.task.joins else setting.seq_len
        return _hash(
            [_sources(self.config), task, dict(setting.columns), length, self.tokenizers, list(setting.labels)]
        )


def find_material(
    config: RunConfig, root: Node, *, base: Path, out: Path, program: Program, began: bool,
    on_progress: OnProgress | None = None,
) -> Material:  # fmt: skip
    """The data that a run config names, with the tokenizers that it has or makes.

    Args:
        config: the run config.
        root: the tree it came from.
        base: folder that its paths are relative to.
        out: the run folder.
        program: of the model.
        began: whether the run has begun, so that its tokenizers are settled.
        on_progress: told of records read.

    Raises:
        UserError: a source, a tokenizer, or a column that is not there.
    """
    data = config.data
    with located("data.train"):
        training = data.train.open(base)
    own = None if data.validation is None else data.validation.source
    setting = Setting(program, {}, data.seq_len, dict(data.columns))
    store = open_store(out / DATA)
    same = store is not None and store.source == training.fingerprint and _as_before(config, out, *READ)
    kept = store if began or same else None
    rows = config.task.rows(program)
    tokenizers: dict[str, Tokenizer] = {}
    for file, path in config.task.tokenizers.items():
        wanted: Any = data.tokenizer if path == "data.tokenizer" else getattr(config.task, path.partition(".")[2])
        if wanted is None:
            continue
        if kept is not None and wanted.learns and file in kept.tokenizers and _as_before(config, out, path):
            tokenizers[file] = kept.tokenizers[file]
        else:
            texts = _Texts(config, training, setting, file, on_progress)
            made = wanted.make(texts, base, rows=rows[file], more=config.task.special_tokens(data.seq_len))
            tokenizers[file] = config.task.settled(made, file=file)
        _require_vocabulary(tokenizers[file], rows=rows[file], root=root, path=path)
    setting = replace(setting, tokenizers=tokenizers)
    setting = replace(setting, labels=_labels(config, training, setting, kept=kept))
    problems = [placed_fault(root, "task", each) for each in config.task.unfit_labels(setting)]
    if problems:
        raise RunConfigError(problems)
    return Material(config, training, None if own is None else own.open(base), setting)


def _as_before(config: RunConfig, out: Path, *paths: str) -> bool:
    """Whether what is in the folder was made from what the run config still says in some places."""
    before, now = read_identity(out) or read_identity(out, SHARED), config_data(config)
    return before is not None and all(
        at(before, "config", *path.split(".")) == at(now, *path.split(".")) for path in paths
    )  # fmt: skip


def _sources(config: RunConfig) -> list[Any]:
    """How records are read, without the names of what they are read from."""
    data = config_data(config)["data"]
    found = [data["train"], (data["validation"] or {}).get("source")]
    return [None if each is None else {k: v for k, v in each.items() if k not in ("files", "path")} for each in found]


def _labels(config: RunConfig, records: Records, setting: Setting, *, kept: Store | None) -> list[str]:
    """Names of the classes: as written, as kept, or those that the records have."""
    written: list[str] = getattr(config.task, "labels", [])
    if written or kept is not None:
        return list(written or (kept.labels if kept is not None else ()))
    if not config.task.classes:
        return []
    found = {name for values, place, _ in records for name in config.task.names(values, setting, place)}
    numbers = all(re.fullmatch(r"-?[0-9]+", name) for name in found)
    return sorted(found, key=int) if numbers else sorted(found)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts that a tokenizer learns from, each time anew."""

    config: RunConfig
    records: Records
    setting: Setting
    file: str
    on_progress: OnProgress | None

    def __call__(self) -> Iterator[str]:
        for values, place, done in self.records:
            if self.on_progress is not None:
                self.on_progress("learning the vocabulary", done, self.records.size)
            yield from self.config.task.texts(values, self.setting, place, file=self.file)


def _require_vocabulary(tokenizer: Tokenizer, *, rows: int, root: Node, path: str) -> None:
    if tokenizer.vocab_size > rows:
        raise RunConfigError([
            fault(
                root, "FX1502", path, message="more tokens than the model has rows for",
                expected=f"ids below {rows}", found=f"ids up to {tokenizer.vocab_size - 1}",
                cure=f"give the model a vocab_size of {tokenizer.vocab_size}, or another tokenizer",
            )
        ])  # fmt: skip


def _hash(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def files_of(material: Material) -> Mapping[str, str]:
    """What goes into each checkpoint beside the model: tokenizers, classes, what begins and ends a text."""
    setting = material.setting
    generation = material.config.task.generation(setting)
    files = {name: tokenizer.dumps() for name, tokenizer in setting.tokenizers.items()}
    if generation is not None:
        files["generation_config.json"] = json.dumps(generation, indent=1)
    if setting.labels:
        files["labels.json"] = json.dumps(list(setting.labels))
    return files
