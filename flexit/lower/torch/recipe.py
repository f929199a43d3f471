"""Modules of generated classes in pickles and copies: what stands for a class is what it was made from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self, cast

from torch import nn


class Recipe:
    """How to make a class again: a function of this package and a region or program.

    A pickle holds each recipe once, so that layers of one region have one class again.
    """

    def __init__(self, make: Callable[[Any], type[nn.Module]], source: object) -> None:
        self.make = make
        self.source = source
        self._cls: type[nn.Module] | None = None

    def made(self, cls: type[nn.Module]) -> Recipe:
        """This recipe, with the class that it has made."""
        self._cls = cls
        return self

    @property
    def cls(self) -> type[nn.Module]:
        """The class, made when it is first asked for."""
        if self._cls is None:
            self._cls = self.make(self.source)
            cast("type[Generated]", self._cls)._recipe = self
        return self._cls

    def __reduce__(self) -> tuple[Any, ...]:
        return Recipe, (self.make, self.source)


class Generated(nn.Module):
    """A module whose class exists in this process alone."""

    _recipe: Recipe

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        del protocol
        return blank, (self._recipe,), self.__getstate__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        state = cast("dict[str, Any]", self.__getstate__())
        made.__setstate__({name: copy.deepcopy(value, memo) for name, value in state.items()})
        return made


def blank(recipe: Recipe) -> nn.Module:
    """An instance without state, as a pickle fills it."""
    return recipe.cls.__new__(recipe.cls)
