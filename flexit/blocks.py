"""The kinds of the spec language as Python names, for fields of a :class:`flexit.Graph`: ``MultiHead(n_heads=8)``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flexit.ir import registry
from flexit.ir.block import Block
from flexit.ir.builder import Part, part
from flexit.ir.language.kinds import families
from flexit.ir.wording import nearest


def kind_of(name: str) -> str:
    """``multi_head`` for ``MultiHead``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def name_of(kind: str) -> str:
    """``MultiHead`` for ``multi_head``."""
    return "".join(word.capitalize() for word in kind.split("_"))


def make(kind: str, **fields: Any) -> Part:
    """A kind by its name in documents, such as ``vendor:kind`` of a plugin."""
    return part(kind, **fields)


def _known() -> dict[str, str]:
    """Every kind of every family, by its Python name."""
    registry.names(Block)
    kinds = {
        kind for family in families() for kind in (*registry.names(family), *registry.LATER.get(family.family, ()))
    }
    return {name_of(kind): kind for kind in kinds if ":" not in kind}


def __getattr__(name: str) -> Callable[..., Part]:
    known = _known() if name[:1].isupper() else {}
    if name not in known:
        near = nearest(name, list(known))
        raise AttributeError(f"flexit.blocks has no kind {name}{f'; did you mean {near}?' if near else ''}")
    kind = known[name]

    def factory(**fields: Any) -> Part:
        return part(kind, **fields)

    factory.__name__ = factory.__qualname__ = name
    globals()[name] = factory
    return factory


def __dir__() -> list[str]:
    return sorted([*_known(), "make"])
