"""What a model reads and gives, and the one place where the inputs of sessions are brought into form or refused."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from flexit.errors import TaskError
from flexit.ir.language.inputs import Companions
from flexit.ir.misfits import misfit
from flexit.runtime.sessions.arrays import Array, flags, integers, lengths, numbers, refused

FIXED = ("vector", "prefix_lengths")
"""Roles of inputs that have one entry for each row, whatever its length."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A graph input as sessions need it: see :class:`flexit.ir.program.Input`.

    Attributes:
        limit: one more than the largest id or position; None where no table bounds it.
        slots: the longest row, pads counted, where a table of positions counts them.
        tokens: the longest row, pads not counted, where that is less than ``limit``; of a mask, where a table of
            distances has to reach over the row.
        width: numbers of each slot, of values and vectors.
    """

    name: str
    group: str
    role: str
    limit: int | None = None
    slots: int | None = None
    tokens: int | None = None
    width: int | None = None

    def read(self, given: object) -> Array:
        """What was given for it as an array of its kind.

        Raises:
            TaskError: FX2001, it is something else.
        """
        if self.role == "mask":
            return flags(self.name, given)
        if self.role == "prefix_lengths":
            return lengths(self.name, given)
        if self.role in ("ids", "position_ids"):
            return integers(self.name, given, limit=self.limit)
        shape = "[batch, length, width]" if self.role == "values" else "[batch, width]"
        return numbers(self.name, given, shape=shape, width=self.width)


@dataclass(frozen=True, slots=True)
class Interface:
    """What of a program a session needs.

    Attributes:
        decoded: group of the input that is fed step by step, or None with ``why_not`` saying why.
        in_pieces: whether prompts that are read in pieces give what they give at once.
    """

    inputs: tuple[Entry, ...]
    outputs: tuple[str, ...]
    decoded: str | None
    why_not: str
    in_pieces: bool = False

    @property
    def of_decoded(self) -> tuple[Entry, ...]:
        """The inputs that go on step by step; vectors are of no length and no group, and a prefix is read at once."""
        return tuple(e for e in self.inputs if e.group == self.decoded and e.role not in FIXED)

    @property
    def prefixes(self) -> tuple[Entry, ...]:
        """Inputs that say how many tokens of a row are read both ways, of the one that is decoded."""
        return tuple(e for e in self.inputs if e.group == self.decoded and e.role == "prefix_lengths")

    def complete(self, given: Mapping[str, Any]) -> dict[str, Array]:
        """The inputs of a run as arrays that fit each other, with the default masks filled in and prefixes cut to rows.

        Lists, arrays of any integers or booleans and PyTorch tensors become ``int64`` (values: fp32).

        Raises:
            TaskError: FX2001, an input is missing, unknown, or not one that the model can be run on.
        """
        given = self._named(given)
        full = {entry.name: entry.read(given[entry.name]) for entry in self.inputs if entry.name in given}
        self._require_agreeing(full)
        for entry in self.inputs:
            if entry.role == "mask" and entry.name not in full:
                ids = next(full[e.name] for e in self.inputs if e.group == entry.group and e.role in ("ids", "values"))
                full[entry.name] = np.ones(ids.shape[:2], np.int64)
        for entry in self.inputs:
            if entry.role == "mask" or (entry.role == "position_ids" and entry.name not in full):
                self._require_room(entry, full)
            if entry.role == "prefix_lengths":
                mask = next(full[e.name] for e in self.inputs if e.group == entry.group and e.role == "mask")
                full[entry.name] = np.minimum(full.get(entry.name, 0), mask.sum(axis=1))
        return full

    def following(
        self, tokens: object, mask: object, others: Mapping[str, Any] | None, *, past: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        """The inputs of a step in the same way: the decoded ones, their mask, and what comes beside them.

        Args:
            tokens: ids or values of the new slots.
            mask: of the new slots, or None for all ones.
            others: inputs that come with each token.
            past: the mask of what was read before, ``int64[batch, slots]``.

        Raises:
            TaskError: FX2001, they are not what the model can be run on.
        """
        ids, mask_entry = self.require_decoded()
        beside = self.taken_beside(others or {})
        strange = sorted(set(others or {}) - set(beside))
        if strange:
            raise refused(
                strange[0], "does not come with each token", expected=", ".join(self.beside) or "no other input",
                found=strange[0], cure="give it when the session is started",
            )  # fmt: skip
        given = {ids.name: tokens, **beside, **({} if mask is None else {mask_entry.name: mask})}
        full = {entry.name: entry.read(given[entry.name]) for entry in self.of_decoded if entry.name in given}
        self._require_agreeing(full, rows=len(past))
        valid = full.pop(mask_entry.name, np.ones(full[ids.name].shape[:2], np.int64))
        for entry in self.of_decoded:
            if entry.role in ("mask", "position_ids"):
                self._require_room(entry, {**full, mask_entry.name: np.concatenate([past, valid], axis=1)})
        return full.pop(ids.name), valid, full

    def _named(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs that are given, each of which the model has, and none missing."""
        required = [entry.name for entry in self.inputs if entry.role in ("ids", "values", "vector")]
        known = ", ".join(e.name if e.name in required else f"{e.name} (optional)" for e in self.inputs)
        if not isinstance(cast("object", given), Mapping):
            raise TaskError.of(
                "FX2001", "these are not the inputs of the model", expected=f"a mapping of {known}",
                found=f"a {type(given).__name__}", cure="pass the graph inputs by name",
            )  # fmt: skip
        there = {name: value for name, value in given.items() if value is not None}
        packed = [name for name in there if name in {Companions(e.group).document_ids for e in self.inputs}]
        if packed:
            raise refused(
                packed[0], "is for training alone", expected="one document in each row", found=packed[0],
                cure="give each document a row of its own, and pad them to one length",
            )  # fmt: skip
        unknown = [name for name in there if name not in {entry.name for entry in self.inputs}]
        missing = [name for name in required if name not in there]
        if unknown or missing:
            what, cure = misfit(missing=missing, unknown=unknown, known=[entry.name for entry in self.inputs])
            raise TaskError.of(
                "FX2001", what, path=str((unknown or missing)[0]), expected=known,
                found=", ".join(map(str, there)) or "nothing", cure=cure,
            )  # fmt: skip
        return there

    def _require_agreeing(self, full: Mapping[str, Array], *, rows: int | None = None) -> None:
        """As many rows in all inputs (``rows``, if there is a past), and as many slots in all of a group."""
        lengths: dict[str, tuple[str, int]] = {}
        first = ("the rows that were started", rows) if rows is not None else None
        for entry in self.inputs:
            if entry.name not in full:
                continue
            shape = full[entry.name].shape
            first = first or (f"{entry.name} of {shape[0]} rows", shape[0])
            if shape[0] != first[1]:
                raise refused(
                    entry.name, "has another number of rows", expected=f"{first[1]} rows, as {first[0]}",
                    found=f"{shape[0]} rows", cure="give a row of each input for each sequence",
                )  # fmt: skip
            if entry.role in FIXED:
                continue
            other, length = lengths.setdefault(entry.group, (entry.name, shape[1]))
            if shape[1] != length:
                raise refused(
                    entry.name, "has another length", expected=f"{length} slots, as {other}", found=f"{shape[1]} slots",
                    cure="give one entry for each slot of this call; what was read before is kept by the session",
                )  # fmt: skip

    def _require_room(self, counted: Entry, full: Mapping[str, Array]) -> None:
        """No row may be longer than the tables that its tokens are counted for (positions) or reach over (the mask)."""
        mine = [entry for entry in self.inputs if entry.group == counted.group and entry.name in full]
        mask = next((full[entry.name] for entry in mine if entry.role == "mask"), None)
        if mask is None:
            return
        tokens, slots = int(mask.sum(axis=1).max()), mask.shape[1]
        self._require_positions(counted, tokens=tokens, slots=slots, path=mine[0].name)

    @property
    def position_limit(self) -> int | None:
        """The longest row that can be decoded, where tables of positions bound it."""
        return None if self.decoded is None else self.longest(self.decoded)

    def longest(self, group: str) -> int | None:
        """The longest row of a group of inputs, where tables of positions bound it."""
        counted = [e for e in self.inputs if e.group == group and e.role in ("mask", "position_ids")]
        limits = [limit for entry in counted for limit in (entry.limit, entry.slots, entry.tokens)]
        return min((limit for limit in limits if limit is not None), default=None)

    @staticmethod
    def _require_positions(counted: Entry, *, tokens: int, slots: int, path: str) -> None:
        most = counted.limit if counted.tokens is None else counted.tokens
        for limit, length, what in ((counted.slots, slots, "slots"), (most, tokens, "tokens")):
            if limit is not None and length > limit:
                raise refused(
                    path, "is longer than the model has positions", expected=f"at most {limit} {what} in all",
                    found=f"{length} {what}", cure="shorten the text, or train a model with more positions",
                )  # fmt: skip

    @property
    def beside(self) -> tuple[str, ...]:
        """Inputs that come with the decoded one, token by token (token types)."""
        if self.decoded is None:
            return ()
        own = [e.name for e in self.inputs if e.group == self.decoded and e.role in ("ids", "values")]
        return tuple(own[1:])

    def taken_beside(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Those of ``given`` that come with the decoded input.

        Raises:
            TaskError: FX2001, one is missing.
        """
        missing = [name for name in self.beside if name not in given]
        if missing:
            raise TaskError.of(
                "FX2001", "an input that comes with each token is missing", expected=", ".join(self.beside),
                found=", ".join(given) or "none", cure=f"pass {missing[0]} for the same tokens", path=missing[0],
            )  # fmt: skip
        return {name: given[name] for name in self.beside}

    def require_counted(self, given: Mapping[str, Array], *, taken: Container[str] = ()) -> None:
        """Refuse position ids where they are counted from the mask.

        Raises:
            TaskError: FX2001, position ids are given that are not among those ``taken``.
        """
        passed = [e.name for e in self.inputs if e.role == "position_ids" and e.name in given and e.name not in taken]
        if passed:
            raise TaskError.of(
                "FX2001", "this session counts position ids itself", expected="ids and their mask", found=passed[0],
                cure=f"leave {passed[0]} out, or call the PyTorch module with it", path=passed[0],
            )  # fmt: skip

    def require_decoded(self) -> tuple[Entry, Entry]:
        """The ids or values that are decoded, and their mask.

        Raises:
            TaskError: FX0801, the model has no cached form.
        """
        if self.decoded is None:
            raise TaskError.of(
                "FX0801", "the model cannot be decoded token by token",
                expected="a causal path from an input to logits", found=self.why_not,
                cure="use a causal mask, or run the model whole",
            )  # fmt: skip
        mine = self.of_decoded
        return next(e for e in mine if e.role in ("ids", "values")), next(e for e in mine if e.role == "mask")
