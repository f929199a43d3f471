"""A spec made as large as wanted: the width, the depth or the feed-forwards solved from the cost model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import lcm
from typing import Any, Literal, cast

from flexit.errors import SpecError, UserError
from flexit.ir.analysis.cost import cost
from flexit.ir.compile import compile_spec
from flexit.ir.spec import Spec

By = Literal["parameters", "flops"]
Vary = Literal["width", "depth", "d_ff"]
FARTHEST = 0.2
"""Distance from the wanted figure, relative to it, beyond which no size is called near."""
RANKS = ("q_lora_rank", "kv_lora_rank")
LARGEST = 2**20
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sized:
    """A spec of the wanted size.

    Attributes:
        sets: overrides that make it so, after those that were given; none where it is so already.
        spec: the spec.
        figure: what it comes to.
        wanted: what was to be met.
    """

    sets: tuple[str, ...]
    spec: Spec
    figure: int
    wanted: int

    @property
    def gap(self) -> float:
        """Distance from what was wanted, relative to it."""
        return self.figure / self.wanted - 1


def figure_of(spec: Spec, *, by: By, seq: int) -> int:
    """Parameters of a spec, or FLOPs of its forward over one row."""
    needs = cost(compile_spec(spec), batch=1, seq=seq if by == "flops" else None)
    return needs.parameters if by == "parameters" else needs.flops


def sized(
    load: Callable[[Sequence[str]], Spec], wanted: int, *, by: By, vary: Vary, seq: int, where: str = ""
) -> Sized:  # fmt: skip
    """The size of a spec that comes nearest to a figure.

    Args:
        load: the spec with further overrides.
        wanted: parameters or FLOPs.
        by: which of them.
        vary: what is changed.
        seq: tokens of a row, for FLOPs.
        where: the place of the spec, for messages.

    Raises:
        UserError: FX2303, nothing can be varied, or no valid size is near.
    """
    written = load(())
    figure = figure_of(written, by=by, seq=seq)
    if figure == wanted:
        return Sized((), written, figure, wanted)
    scale = _scale(written, vary, where)

    @cache
    def at(size: int) -> tuple[int, Spec] | None:
        try:
            spec = load(scale.sets(size))
        except SpecError:
            return None
        return figure_of(spec, by=by, seq=seq), spec

    near = [size for size in _around(lambda size: _figure(at(size)), wanted) if at(size) is not None]
    found = [(abs(there[0] - wanted), size, there) for size in near if (there := at(size)) is not None]
    if not found or min(found)[0] > FARTHEST * wanted:
        nearest = f"{min(found)[2][0]:,} at {', '.join(scale.sets(min(found)[1]))}" if found else "no valid size"
        raise UserError.of(
            "FX2303", "no size of this variant matches", path=where, expected=f"{wanted:,} {by}, or near",
            found=nearest, cure="vary something else, or match to another variant",
        )  # fmt: skip
    _, size, (reached, spec) = min(found, key=lambda entry: entry[:2])
    return Sized(tuple(scale.sets(size)), spec, reached, wanted)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Fields that grow together: those of ``unit`` times the size, others by the same factor.

    Attributes:
        first: the field that the size is of, as it is now.
        unit: what the size counts.
        fields: each by its place, as it is now.
        stepped: those that must be multiples of the unit.
    """

    first: int
    unit: int
    fields: dict[Place, int]
    stepped: frozenset[Place]

    def sets(self, size: int) -> list[str]:
        """Overrides for a size."""
        factor = size * self.unit / self.first
        return [f"{'.'.join(place)}={self._value(place, value, factor)}" for place, value in self.fields.items()]

    def _value(self, place: Place, value: int, factor: float) -> int:
        step = self.unit if place in self.stepped else 1
        return max(1, round(value * factor / step)) * step


def _scale(spec: Spec, vary: Vary, where: str) -> _Scale:
    data = cast("dict[str, Any]", spec.node.plain() if spec.node is not None else {})
    numbers = dict(_numbers(data, ()))
    key = {"width": "d_model", "depth": "n_layers", "d_ff": "d_ff"}[vary]
    main = {place: value for place, value in numbers.items() if place[-1] == key}
    if not main:
        raise UserError.of(
            "FX2303", f"nothing of this variant can be varied in {vary}", path=where,
            expected=f"a spec that says {key}", found=f"no {key} in {spec.name}", cure="vary something else",
        )  # fmt: skip
    if vary != "width":
        return _Scale(max(main.values()), 1, main, frozenset())
    unit = 2 * lcm(*(value for place, value in numbers.items() if place[-1] in ("n_heads", "n_kv_heads")))
    widths = set(main.values())
    as_wide = {place: value for place, value in numbers.items() if value in widths and place[-1] in ("d_out", "width")}
    beside = {place: value for place, value in numbers.items() if place[-1] in ("d_ff", *RANKS)}
    return _Scale(max(main.values()), unit, {**main, **as_wide, **beside}, frozenset((*main, *as_wide)))


def _numbers(data: Any, place: Place) -> Iterator[tuple[Place, int]]:
    """Every integer of a document that an override can reach."""
    if isinstance(data, dict):
        for key, value in cast("dict[str, Any]", data).items():
            yield from _numbers(value, (*place, key))
    elif isinstance(data, int) and not isinstance(data, bool):
        yield place, data


def _around(figure: Callable[[int], int | None], wanted: int) -> set[int]:
    """Sizes on both sides of the one at which a growing figure would meet what is wanted; sizes that are not valid,
    which figure as None, count as too small.
    """
    high = 1
    while high < LARGEST and (figure(high) or 0) < wanted:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if (figure(middle) or 0) >= wanted else (middle, high)
    return {size for size in (low, high) if size >= 1}


def _figure(found: tuple[int, Spec] | None) -> int | None:
    return None if found is None else found[0]
