"""The whole section ``gguf`` of a family, and the family as its GGUF files have it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import cast

from flexit.convert.gguf.models import Model, models_of
from flexit.convert.mapping.family import Family, bare, merged
from flexit.convert.mapping.forms import Data
from flexit.convert.mapping.gguf_section import Gguf
from flexit.convert.mapping.keys import keys_read
from flexit.ir.io.yaml import read

GONE = "$gone"


def section_of(family: Family, architecture: str | None = None) -> Gguf | None:
    """How GGUF files of an architecture name a family, by default the first; None where llama.cpp does not have it."""
    return next((each for each in sections_of(family) if architecture in (None, each.architecture)), None)


def sections_of(family: Family) -> Iterator[Gguf]:
    """How GGUF files name a family, with what most have in common: of each architecture that has models of it."""
    if family.gguf is None:
        return
    own: Data = family.gguf.model_dump(exclude_unset=True, exclude={"others"})
    for other in ({}, *family.gguf.others):
        yield _whole(merged(own, other))


def _whole(own: Data) -> Gguf:
    both: Data = {key: merged(value, own.get(key, {})) for key, value in _common().items()}
    first: Data = {name: rule for name, rule in own.get("tensors", {}).items() if rule != GONE}
    return Gguf.model_validate({**own, **both, "tensors": {**first, **both["tensors"]}})


def in_gguf(family: Family, section: Gguf, model: Model | None = None) -> Family:
    """A family whose rules of tensors are those of its GGUF files, with a model of these, by default the first."""
    model = model or next(iter(models_of(family, section)))
    head = model.head.model_copy(update={"tensors": {}, "prefix": ""})
    return family.model_copy(update={
        "tensors": section.tensors, "prefix": "", "heads": {model.name: head}, "copies": {}, "computed": {},
        "constants": {}, "ahead": {}, "ignored": section.ignored, "gguf": section,
    })  # fmt: skip


def known_keys(family: Family) -> set[str]:
    """Keys of a configuration that a family has a use for."""
    return {*keys_read(family), *family.inert}


@cache
def _common() -> Data:
    file = resources.files("flexit.convert.gguf") / "common.yaml"
    return cast("Data", bare(read(file.read_bytes(), "common.yaml").plain()))
