"""Which layer of a stack a layer begins as, where one stack has more of them than the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flexit.errors import Problem
from flexit.runtime.transfer.options import Depth

LAYERS = "layers"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter comes from.

    Attributes:
        path: its name in the old model.
        added: whether it is in a layer whose origin another layer before it has too.
        stacks: of each stack that it is in: its path, the layer, and the one that this begins as.
    """

    path: str
    added: bool
    stacks: tuple[tuple[str, int, int], ...] = ()


def origin(layer: int, depth: Depth, *, there: int, here: int) -> int:
    """The layer of a stack of ``there`` layers that layer ``layer`` of ``here`` begins as.

    ``interleave`` takes neighbours of a copied layer beside it (LLaMA Pro, Wu et al. 2024, arXiv 2401.02415; evenly
    spread where layers go, as in DistilBERT, Sanh et al. 2019), ``repeat`` puts the whole stack on itself (Gong et al.
    2019), ``upscale`` the first layers below the last ones (SOLAR, Kim et al. 2023, arXiv 2312.15166).
    """
    if there == here:
        return layer
    if depth == "interleave":
        return layer * there // here
    if depth == "repeat":
        return layer % there
    first = -(-here // 2)
    return layer if layer < first else there - here + layer


class Layers:
    """The stacks of two models, by the names of their parameters."""

    def __init__(self, old: Iterable[str], new: Iterable[str], *, depth: Depth) -> None:
        self._old, self._new = _counted(old), _counted(new)
        self._depth: Depth = depth

    def misfits(self) -> Iterator[Problem]:
        """FX2202, for stacks whose layers cannot be mapped in this way."""
        for path, here in self._new.items():
            there = self._old.get(path, here)
            if self._depth == "upscale" and not (there <= here <= 2 * there):
                yield Problem(
                    code="FX2202", path=path, message="layers cannot be scaled up in this way",
                    expected=f"{there} to {2 * there} layers, of the {there} there", found=str(here),
                    cure="choose depth interleave or repeat, or another number of layers",
                )  # fmt: skip

    def place(self, path: str) -> Place:
        """Where a parameter of the new model comes from, if it is there."""
        old: list[str] = []
        new: list[str] = []
        added = False
        stacks: list[tuple[str, int, int]] = []
        for part in path.split("."):
            if old and old[-1] == LAYERS and part.isdigit():
                there, here = self._old.get(".".join(old), 0), self._new[".".join(new)]
                layer = int(part)
                source = origin(layer, self._depth, there=there, here=here) if there else layer
                before = (origin(each, self._depth, there=there, here=here) for each in range(layer) if there)
                added |= source in before
                stacks.append((".".join(new), layer, source))
                old.append(str(source))
            else:
                old.append(part)
            new.append(part)
        return Place(".".join(old), added, tuple(stacks))


def _counted(paths: Iterable[str]) -> dict[str, int]:
    """The number of layers of each stack; those of one layer in another stack are counted apart."""
    found: dict[str, int] = {}
    for path in paths:
        parts = path.split(".")
        for index, part in enumerate(parts[1:], 1):
            if parts[index - 1] == LAYERS and part.isdigit():
                stack = ".".join(parts[:index])
                found[stack] = max(found.get(stack, 0), int(part) + 1)
    return found
