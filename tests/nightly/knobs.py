"""Knobs of a frame and their values, read off the annotations of the fields; and the document of some settings."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from flexit.ir.block import Block
from flexit.ir.language.annotations import (
    Entry,
    Flag,
    GroupOf,
    KindOf,
    ListOf,
    Number,
    Option,
    Text,
    Words,
    as_slot,
    fields,
)
from flexit.ir.language.kinds import Group, Kind
from flexit.ir.registry import find
from tests.fuzz.occurrences import classes, classes_of
from tests.nightly.frames import Data, Frame, Path

WIRING = ("from", "shares", "init", "vocab_size", "d_model", "variants", "pattern", "layers", "eps", "layer")
"""Fields that are no knobs: names, sizes that the frame gives, and what is turned by ``VARIANTS``."""
GROUP = "(group)"
"""Stands at the end of a path for the class of the group there."""
WHOLE = (1, 2, 4)
BROKEN = (0.25, 0.5, 2.0)
VALUES = {"n_layers": (1, 4), "theta": (100.0,), "eps": (1e-3,), "original_max_len": (4,), "max_distance": (3, 8),
          "max_len": (12, 40), "n_buckets": (4, 8), "factor": (2, 4.0), "dropout": (0.5,), "d_ff": (8,),
          "short_factor": ([1.0, 1.5, 2.0, 3.0],), "long_factor": ([4.0, 3.0, 2.5, 2.0],), "initial": ([0.25, 0.5],),
          "d_out": (8,), "mscale": (0.5,), "mscale_all_dim": (0.75,), "beta_fast": (4.0,), "beta_slow": (0.5,),
          "mask_id": (3,), "pad_id": (0, 2)}  # fmt: skip
"""Values of fields in which what is right depends on what else there is."""
VARIANTS: tuple[Data, ...] = (
    {"variants": {"odd": {"residual": {"kind": "sequential", "multiplier": 0.5}}}, "pattern": ["default", "odd"]},
    {"variants": {"last": {"norm_placement": "sandwich"}}, "layers": {"-1": "last"}},
)


@dataclass(frozen=True)
class Setting:
    """One value of one knob.

    Attributes:
        knob: the path of the field, with the kinds on the way.
        value: as text.
        parts: path -> value of the field itself, and of the kinds that have it.
    """

    knob: str
    value: str
    parts: tuple[tuple[Path, Any], ...]

    def __str__(self) -> str:
        return f"{self.knob}: {self.value}"

    def __hash__(self) -> int:
        return hash((self.knob, self.value))


Parts = tuple[tuple[Path, Any], ...]


@cache
def settings(frame: Frame) -> tuple[Setting, ...]:
    """Every value of every knob of a frame, what the frame has or leaves out anyway left out."""
    knobs = _Knobs(frame)
    found: dict[str, Setting] = {}
    for path in frame.open:
        for setting in knobs.at(path):
            found.setdefault(str(setting), setting)
    for path, kinds in frame.choices:
        for kind in kinds:
            parts = (((*path, "kind"), kind),)
            for setting in (_setting((*path, "kind"), kind, parts), *knobs.fields(_block(kind), path, parts)):
                found.setdefault(str(setting), setting)
    return tuple(found.values())


class _Knobs:
    """The knobs of a frame."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def at(self, path: Path) -> Iterator[Setting]:
        """Settings at and below a path of the document."""
        value: Any = self.frame.document
        cls: Any = None
        parts: Parts = ()
        for index, step in enumerate(path):
            value = value.get(step) if isinstance(value, dict) else None
            if isinstance(value, dict) and "kind" in value:
                parts = (*parts, ((*path[: index + 1], "kind"), value["kind"]))
                cls = _kind_of((*path[: index + 1], "kind"), value["kind"])
            elif index > 1 and index < len(path) - 1:
                cls = next(option.cls for option in fields(cls)[step].type.options if isinstance(option, GroupOf))
            elif index > 1:
                yield from self.entry(fields(cls)[step], path, parts)
                return
        yield from self.fields(cls, path, parts)

    def fields(self, cls: type[Group], path: Path, parts: Parts) -> Iterator[Setting]:
        """Settings of the fields of a class."""
        known = as_slot(cls) if issubclass(cls, Kind) else fields(cls)
        for name, entry in known.items():
            if name not in WIRING and name not in self.frame.fixed:
                yield from self.entry(entry, (*path, name), parts)
        if "variants" in known:
            for more in VARIANTS:
                added = tuple(((*path, key), value) for key, value in more.items())
                yield _setting((*path, "variants"), next(iter(more["variants"])), (*parts, *added))
            if path in self.frame.open:
                yield from self.fields(
                    _block("transformer_layer"),
                    (*path, "layer"),
                    (*parts, ((*path, "layer", "kind"), "transformer_layer")),
                )

    def entry(self, entry: Entry, path: Path, parts: Parts) -> Iterator[Setting]:
        """Settings of a field."""
        if entry.type.nullable and (entry.default is not None or entry.required):
            yield _setting(path, None, (*parts, (path, None)))
        for option in entry.type.options:
            if isinstance(option, GroupOf):
                yield from self.fields(option.cls, path, (*parts, ((*path, GROUP), option.cls)))
            elif isinstance(option, KindOf):
                yield from self.kinds(option, path, parts)
            else:
                values = [value for value in _values(entry.name, option) if entry.inferred or value != entry.default]
                for value in values[: 1 if isinstance(option, Number) else None]:
                    yield _setting(path, value, (*parts, (path, value)))

    def kinds(self, option: KindOf, path: Path, parts: Parts) -> Iterator[Setting]:
        """Settings of a kind, and of its fields where the frame is deep."""
        if option.trait is Block:
            return
        usual = {at: kind for at, kind in parts if at[-1] == "kind" and self.usual(at[:-1]) not in (None, kind)}
        for cls in [cls for cls in classes_of(option.trait) if cls.kind not in self.frame.fixed]:
            with_kind = (*parts, ((*path, "kind"), cls.kind))
            yield _setting((*path, "kind"), cls.kind, with_kind)
            if path[-1] in self.frame.deep and not usual and (path[-1] != "norm" or path[-2] == "layer"):
                yield from self.fields(cls, path, with_kind)

    def usual(self, path: Path) -> str | None:
        """The kind that the frame has at a path."""
        value: Any = self.frame.document
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        return value.get("kind") if isinstance(value, dict) else None


def _block(kind: str) -> type[Block]:
    cls = find(Block, kind)
    assert cls is not None and issubclass(cls, Block)
    return cls


def _kind_of(path: Path, kind: str) -> type[Kind]:
    """The class of a kind at the path of its key ``kind``."""
    small = path[-2] in ("position", "ids", "scaling", "mask", "residual", "bias", "score_bias")
    every = [cls for cls in classes() if issubclass(cls, Kind) and cls.kind == kind]
    return next(cls for cls in every if issubclass(cls, Block) != small)


def _setting(path: Path, value: Any, parts: tuple[tuple[Path, Any], ...]) -> Setting:
    kinds = {at[:-1]: kind for at, kind in parts if at[-1] == "kind" and at != path}
    steps = [f"{step}({kinds[path[: i + 1]]})" if path[: i + 1] in kinds else step for i, step in enumerate(path)]
    return Setting(".".join(steps[1:]), str(value), parts)


def _values(name: str, option: Option) -> Iterable[Any]:
    if name in VALUES and isinstance(option, Number | ListOf):
        whole = isinstance(option, Number) and option.integer
        return [int(value) if whole else value for value in VALUES[name]]
    match option:
        case Words(words):
            return words
        case Flag():
            return (False, True)
        case Number():
            return [value for value in (WHOLE if option.integer else BROKEN) if _inside(value, option)][:2]
        case Text() if name == "tied_to":
            return ("embed",)
        case ListOf(item) if isinstance(item.options[0], Words):
            words = item.options[0].words
            return [list(words), *([word] for word in words)]
        case _:
            return ()


def _inside(value: float, option: Number) -> bool:
    low = option.low is None or value > option.low or (value == option.low and not option.low_strict)
    high = option.high is None or value < option.high or (value == option.high and not option.high_strict)
    return low and high


# ---- documents


def merged(chosen: Iterable[Setting]) -> dict[Path, Any] | None:
    """The parts of several settings, None if no document has them all."""
    parts: dict[Path, Any] = {}
    for setting in chosen:
        for path, value in setting.parts:
            if path in parts and parts[path] != value:
                return None
            parts[path] = value
    if any(path[:end] in parts for path in parts for end in range(1, len(path))):
        return None
    return parts


def document(frame: Frame, parts: dict[Path, Any]) -> Data:
    """The document of a frame with these parts, and what kinds and groups cannot do without."""
    data = frame.copy()
    groups = {path[:-1]: cls for path, cls in parts.items() if path[-1] == GROUP}
    written = {path: value for path, value in parts.items() if path[-1] != GROUP}
    for path in sorted(written, key=lambda path: (len(path) - (path[-1] == "kind"), path[-1] != "kind", path)):
        _put(data, path, written[path])
    for path, cls in groups.items():
        holder = _holder(data, path)
        holder |= {name: value for name, value in _required(cls, {}).items() if name not in holder}
    return data


def _holder(data: Data, path: Path) -> Data:
    for step in path:
        if not isinstance(data.get(step), dict):
            data[step] = {}
        data = data[step]
    return data


def _put(data: Data, path: Path, value: Any) -> None:
    holder = _holder(data, path[:-1])
    if path[-1] != "kind":
        holder[path[-1]] = copy.deepcopy(value)
    elif holder.get("kind") != value:
        cls = _kind_of(path, value)
        kept = {"from": holder["from"]} if "from" in holder else {}
        holder.clear()
        holder |= {"kind": value, **_required(cls, (getattr(cls, "examples", ()) or ({},))[0]), **kept}


def _required(cls: type[Group], example: Data) -> Data:
    """What a class cannot do without, as in an example or else the first value there is."""
    found: Data = {}
    for name, entry in fields(cls).items():
        if entry.required and not (name.endswith("_factor") and name in VALUES):
            found[name] = copy.deepcopy(example[name]) if name in example else _first(entry)
        elif entry.required:
            found[name] = copy.deepcopy(VALUES[name][0])
    return found


def _first(entry: Entry) -> Any:
    for option in entry.type.options:
        if isinstance(option, KindOf):
            cls = classes_of(option.trait)[0]
            return {"kind": cls.kind, **_required(cls, (getattr(cls, "examples", ()) or ({},))[0])}
        for value in _values(entry.name, option):
            return value
    return None
