"""The data of a run: found, compared with what the run began with, encoded once, and read from the run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
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
from flexit.runtime.train.data.mixed import held_out_alike, in_turn, mixed
from flexit.runtime.train.data.parts import Part, fingerprint_of, hashed, parts_of, records_of
from flexit.runtime.train.data.store import (
    OnProgress,
    Row,
    Store,
    make_index,
    make_store,
    open_store,
    predicted_size,
    with_ids,
)
from flexit.runtime.train.data.token_files import TokenFiles
from flexit.runtime.train.describe import config_data
from flexit.runtime.train.read import fault, placed_fault
from flexit.runtime.train.saving.identity import at, read_identity
from flexit.runtime.train.task import TOKENIZER, Setting

DATA = "data"
HELD_OUT = "held-out"
SHARED = "shared.json"
"""In a folder of data that several runs share: what it was made for."""
SPLIT = "equal texts together"
"""How rows are told to be equal; data that was encoded when it was otherwise is encoded anew."""
READ = ("data.train", "data.columns", "task")
"""What of a run config says how texts are read from records."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a run learns from, not yet encoded.

    Attributes:
        config: the run config.
        training: what to learn from; several parts where the source is a mixture.
        held_out: what to judge by, where that has a source of its own.
        setting: with the tokenizers and classes.
        limit: token ids from here on are in no vocabulary.
    """

    config: RunConfig
    training: Sequence[Part]
    held_out: Sequence[Part]
    setting: Setting
    limit: int

    @property
    def fingerprint(self) -> str:
        """Of all records."""
        training = fingerprint_of(self.training)
        return hashed([training, fingerprint_of(self.held_out)]) if self.held_out else training

    @property
    def tokenizers(self) -> str:
        """Fingerprint of the tokenizers."""
        known = list(self.setting.tokenizers.values())
        return known[0].fingerprint if len(known) == 1 else hashed([each.fingerprint for each in known])

    def examples(self, out: Path, on_progress: OnProgress | None = None) -> tuple[Examples, Examples | None]:
        """What is trained on and what is held out, encoded in the run folder where it is not there yet.

        Raises:
            UserError: FX1610, a record lacks a column; FX1510, a source of a mixture has no row in a pass; or the
                source's own.
        """
        validation = self.config.data.validation
        share = None if validation is None else validation.split
        task = self.config.task
        stores = [self._encoded(part, out, on_progress=on_progress) for part in self.training]
        both = [task.examples(store, self.setting, share) for store in held_out_alike(stores, share, joined=task.joins)]
        training, held_out = mixed(self.training, [one for one, _ in both]), [other for _, other in both]
        if self.held_out:
            stores = [self._encoded(part, out, on_progress=on_progress) for part in self.held_out]
            held_out = [task.examples(store, self.setting, None)[0] for store in stores]
        return training, None if validation is None else in_turn(held_out)

    def to_encode(self, out: Path) -> int:
        """Predicted bytes of what is not encoded in a run folder yet.

        Raises:
            UserError: the source's own, or FX1610 of the first records.
        """

        def encode(values: Mapping[str, Any], place: str) -> Row:
            return self.config.task.encode(values, self.setting, place)

        return sum(
            part.found.predicted_size()
            if isinstance(part.found, TokenFiles)
            else predicted_size(part, encode, size=part.size)
            for part in (*self.training, *self.held_out)
            if (store := open_store(out / part.folder)) is None or not self._has(store, part)
        )

    def _has(self, store: Store, part: Part) -> bool:
        """Whether a store holds records, encoded as they are to be."""
        return (store.source, store.way) == (part.found.fingerprint, self._way(part))

    def _encoded(self, part: Part, out: Path, *, on_progress: OnProgress | None) -> Store:
        folder, found = out / part.folder, part.found
        store = open_store(folder)
        if store is None or not self._has(store, part):
            if isinstance(found, TokenFiles):
                with located(part.leaf.path):
                    store = make_index(
                        folder, found, limit=self.limit, tokenizers=self.setting.tokenizers, way=self._way(part),
                        on_progress=on_progress,
                    )  # fmt: skip
            else:
                store = make_store(
                    folder, self._rows(part), size=part.size, tokenizers=self.setting.tokenizers,
                    source=found.fingerprint, way=self._way(part), by=self.config.task.by,
                    labels=self.setting.labels, on_progress=on_progress,
                )  # fmt: skip
        if len(store) == 0:
            raise _no_records(part)
        return with_ids(store, folder, found) if isinstance(found, TokenFiles) else store

    def _rows(self, part: Part) -> Iterator[tuple[Row, int]]:
        for values, place, done in part:
            yield self.config.task.encode(values, self.setting, place), done

    def _way(self, part: Part) -> str:
        task = config_data(self.config)["task"]
        setting = self.setting
        length = None if self.config.task.joins else setting.seq_len
        limit = self.limit if isinstance(part.found, TokenFiles) else None
        return hashed(
            [SPLIT, part.way, task, dict(setting.columns), length, self.tokenizers, list(setting.labels), limit]
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
    training = parts_of(data.train, "data.train", base=base, folder=DATA)
    own = None if data.validation is None else data.validation.source
    held_out = parts_of(own, "data.validation.source", base=base, folder=HELD_OUT)
    setting = Setting(program, {}, data.seq_len, dict(data.columns), end=_end(training))
    stores = [open_store(out / part.folder) for part in training]
    same = all(
        store is not None and store.source == part.found.fingerprint
        for store, part in zip(stores, training, strict=True)
    ) and _as_before(config, out, *READ)
    kept = stores[0] if began or same else None
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
    _require_one_end(setting, root)
    setting = replace(setting, labels=_labels(config, training, setting, kept=kept))
    problems = [placed_fault(root, "task", each) for each in config.task.unfit_labels(setting)]
    if problems:
        raise RunConfigError(problems)
    known = [rows[TOKENIZER], *(each.vocab_size for each in tokenizers.values())]
    return Material(config, training, held_out, setting, min(known))


def _end(parts: Sequence[Part]) -> int | None:
    """The id that ends documents of token ids, as the run config says."""
    found = [part.found.separator for part in parts if isinstance(part.found, TokenFiles)]
    return next((each for each in found if each is not None), None)


def _require_one_end(setting: Setting, root: Node) -> None:
    """Raise where the tokenizer ends documents by another token than the token ids do.

    Raises:
        RunConfigError: FX1510.
    """
    known = setting.tokenizers.get(TOKENIZER)
    if known is None or known.separator_id is None or setting.end in (None, known.separator_id):
        return
    raise RunConfigError([
        fault(
            root, "FX1510", "data.tokenizer.separator", message="documents would end by two tokens",
            expected=f"the token {setting.end} of the arrays", found=f"{known.separator}, {known.separator_id}",
            cure="write the separator that the arrays were made with in both places",
        )
    ])  # fmt: skip


def _as_before(config: RunConfig, out: Path, *paths: str) -> bool:
    """Whether what is in the folder was made from what the run config still says in some places."""
    before, now = read_identity(out) or read_identity(out, SHARED), config_data(config)
    return before is not None and all(
        at(before, "config", *path.split(".")) == at(now, *path.split(".")) for path in paths
    )  # fmt: skip


def _no_records(part: Part) -> UserError:
    return UserError.of(
        "FX1603", "there are no records", path=part.leaf.path, expected="at least one", found="none",
        cure="name files that hold some",
    )  # fmt: skip


def _labels(config: RunConfig, parts: Sequence[Part], setting: Setting, *, kept: Store | None) -> list[str]:
    """Names of the classes: as written, as kept, or those that the records have."""
    written: list[str] = getattr(config.task, "labels", [])
    if written or kept is not None:
        return list(written or (kept.labels if kept is not None else ()))
    if not config.task.classes:
        return []
    found = {name for values, place, _ in records_of(parts) for name in config.task.names(values, setting, place)}
    if not found:
        raise _no_records(parts[0])
    numbers = all(re.fullmatch(r"-?[0-9]+", name) for name in found)
    return sorted(found, key=int) if numbers else sorted(found)


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts that a tokenizer learns from, each time anew."""

    config: RunConfig
    parts: Sequence[Part]
    setting: Setting
    file: str
    on_progress: OnProgress | None

    def __call__(self) -> Iterator[str]:
        size = sum(part.size for part in self.parts)
        for values, place, done in records_of(self.parts):
            if self.on_progress is not None:
                self.on_progress("learning the vocabulary", done, size)
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
