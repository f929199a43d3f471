"""The models that GGUF files of a family hold: one that decodes, or an encoder whose states are pooled as metadata say.

How states are pooled: llama.cpp's ``enum llama_pooling_type``. Its programs divide a pooled vector by its length unless
they are told not to, its library does not, and no key says which is meant; files of ours have one of their own for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flexit.convert.importing import template_of
from flexit.convert.mapping.family import Family, Head
from flexit.convert.mapping.gguf_section import Gguf
from flexit.convert.sentence_transformers import EMBEDDING, pool_of, with_pool, without_pool
from flexit.errors import SourceError
from flexit.ir.wording import shown

POOLING, NORMALIZED = "pooling_type", "pooling_normalize"
METHODS = {1: "mean", 2: "first", 3: "last"}


@dataclass(frozen=True, slots=True)
class Model:
    """One of the models.

    Attributes:
        name: of the head.
        head: what it adds to the trunk.
        metadata: what says that a file holds it, without the architecture.
    """

    name: str
    head: Head
    metadata: Mapping[str, Any] = field(default_factory=dict)


def models_of(family: Family, section: Gguf) -> Iterator[Model]:
    """Every model that files of a family may hold."""
    head = family.heads[section.head]
    if not section.pooled:
        yield Model(section.head, head)
        return
    blocks = template_of(family, head)["blocks"]
    yield Model(section.head, head if head.outputs is None else without_pool(head, blocks), {POOLING: 0})
    for number, method in METHODS.items():
        for normalized in (False, True):
            told = {POOLING: number, **({NORMALIZED: True} if normalized else {})}
            yield Model(EMBEDDING, with_pool(head, blocks, pool_of(method, normalized=normalized)), told)


def model_of(family: Family, section: Gguf, metadata: Mapping[str, Any]) -> Model:
    """The model that a file holds.

    Raises:
        SourceError: FX1855, states are pooled in a way that is not known.
    """
    found = {key: metadata[key] for key in (POOLING, NORMALIZED) if metadata.get(key)}
    for model in models_of(family, section):
        if not section.pooled or {key: value for key, value in model.metadata.items() if value} == found:
            return model
    raise SourceError.of(
        "FX1855", "states are pooled in a way that is not understood", path=f"{section.architecture}.{POOLING}",
        expected=", ".join(f"{number} ({method})" for number, method in {0: "none", **METHODS}.items()),
        found=shown(metadata.get(POOLING)), cure="take the checkpoint that the file was made of",
    )  # fmt: skip
