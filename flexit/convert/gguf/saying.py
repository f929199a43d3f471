"""A spec and its parameters in the words of a GGUF architecture: metadata, and tensors under its names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from flexit.convert.exporting import (
    as_lazy,
    config_from,
    first_difference,
    same_program,
    spec_from,
    tensors_from,
    worded,
    words,
)
from flexit.convert.gguf.latent import split
from flexit.convert.gguf.models import Model, model_of, models_of
from flexit.convert.gguf.numbers import as_numbers, bare_keys
from flexit.convert.gguf.reading import config_of, has_rotation, width_of
from flexit.convert.gguf.rotation import Said, number, say_rotation
from flexit.convert.gguf.section import in_gguf, known_keys, sections_of
from flexit.convert.importing import scope_of
from flexit.convert.mapping.family import Family, Head, families_by_architecture, find_family
from flexit.convert.mapping.forms import Data, Found, Incomplete, Mismatch, Scope
from flexit.convert.mapping.gguf_section import Gguf
from flexit.convert.mapping.layers import UNROLLED, unrolled
from flexit.convert.mapping.rotary import PARAMETERS
from flexit.convert.sources.source import Source
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.ir.spec import Spec

FLOATS = ("scale", "epsilon", "softcapping")
"""Endings of keys whose values are no whole numbers, even those that could be."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A model as a GGUF file has it.

    Attributes:
        family: of the mapping file.
        architecture: ``general.architecture``.
        metadata: by key, without the architecture.
        bare: keys of metadata before which it does not stand.
        tensors: by name; all fp32, each made when it is asked for.
    """

    family: str
    architecture: str
    metadata: Data
    bare: frozenset[str]
    tensors: Mapping[str, LazyTensor]


@dataclass(frozen=True, slots=True)
class _Fit:
    family: Family
    head: Head
    section: Gguf
    config: Data
    spoken: Spoken


def as_gguf(spec: Spec, weights: Mapping[str, Any], family: str | None = None) -> Spoken:
    """A model in the words of a GGUF architecture that can say it.

    What is written is read again, and has to give the same program, numbers of the metadata in fp32.

    Args:
        spec: what it is.
        weights: its parameters by path: arrays, tensors of PyTorch, or lazy tensors.
        family: which family; by default, of those that fit, one that extends none, and then the one that needs fewest
            keys.

    Raises:
        SourceError: FX1850, no such family; FX1872, no architecture can say it, with the block where the nearest one
            does not.
    """
    nearest: tuple[int, str, Mismatch] | None = None
    fits: list[_Fit] = []
    data = unrolled(spec)
    for known, section in _sections(family):
        for model in models_of(known, section):
            found = Found(known.varying)
            try:
                fits.append(_fit(spec, data, weights, family=known, section=section, model=model, found=found))
            except Mismatch as error:
                if nearest is None or found.agreed > nearest[0]:
                    nearest = (found.agreed, known.family, error)
    if fits:
        return min(fits, key=lambda fit: words(fit.family, fit.config)).spoken
    names = sorted({known.family for known, _ in _sections(None)})
    if nearest is None:
        raise SourceError.of(
            "FX1872", f"GGUF files have no family {family}", expected=f"one of {', '.join(names)}",
            found=str(family), cure="name one of these, or leave --as out",
        )  # fmt: skip
    _, name, error = nearest
    raise SourceError.of(
        "FX1872", "no GGUF architecture can say this model" if family is None else f"{family} cannot say it in GGUF",
        path=".".join(error.path).replace(UNROLLED, "layers"),
        expected=f"{worded(error.expected)} ({name}, the nearest)", found=worded(error.found),
        cure="change the block, or keep the model as a checkpoint or a bundle; families with an architecture of GGUF "
        f"are {', '.join(names)}",
    )  # fmt: skip


def _sections(family: str | None) -> Iterator[tuple[Family, Gguf]]:
    """Families that llama.cpp has, with what their files say."""
    names = dict.fromkeys(name for several in families_by_architecture().values() for name in several)
    for name in names if family is None else (family,):
        known = find_family(name)
        yield from ((known, section) for section in sections_of(known))


def _fit(
    spec: Spec, data: Data, weights: Mapping[str, Any], *, family: Family, section: Gguf, model: Model, found: Found
) -> _Fit:  # fmt: skip
    """The model as one family's files have it.

    Raises:
        Mismatch: they cannot.
    """
    head = model.head
    config = config_from(spec, data, family, head=head, found=found)
    variant = in_gguf(family, section, model)
    try:
        lazy = {path: _fp32(as_lazy(value, path)) for path, value in weights.items()}
        tensors = tensors_from(spec, lazy, variant, head=variant.heads[model.name], config=config)
    except SourceError as error:
        place = error.problems[0]
        raise Mismatch("no such parameter", place.message, tuple(str(place.path).split("."))) from error
    scope = scope_of(Source(config, {}, None, ""), family, head, tied={})
    _require_usual(scope, section)
    said = say_rotation(config, section.rotation, width=width_of(scope, section)) if has_rotation(family) else Said()
    metadata = {**_metadata(scope, family, section), **said.metadata}
    tensors = {**tensors, **said.tensors}
    metadata |= {key: value for key, value in model.metadata.items() if value}
    plain = spec_of_config(_plain(config, said), family, head)
    _require_same(plain, metadata, tensors, family=family, section=section)
    copies = {name: tensors[of] for name, of in section.copies.items() if name not in tensors and of in tensors}
    tensors = {**tensors, **copies}
    if section.latent:
        tensors = split(tensors, n_heads=scope.value("num_attention_heads"), values=scope.value("v_head_dim"))
    listed, tensors = as_numbers(tensors, section)
    spoken = Spoken(
        family.family, section.architecture, {**metadata, **section.known, **listed}, bare_keys(section), tensors
    )
    return _Fit(family, head, section, config, spoken)


def _metadata(scope: Scope, family: Family, section: Gguf) -> Data:
    known = known_keys(family)
    wanted: Data = {
        name: f"${key}" for key, name in section.keys.items() if key in known and key not in section.unheeded
    }
    less = {section.keys[key]: template for key, template in section.plus.items()}
    found: Data = {}
    for name, template in {**wanted, **section.write}.items():
        try:
            value = scope.fill(template)
        except Incomplete:
            continue  # what is missed shows when it is read again
        if name in less:
            value -= scope.fill(less[name])
        if isinstance(value, bool | int | float):
            found[name] = float(value) if name.endswith(FLOATS) else value
    for key, marks in section.marks.items():
        words = cast("list[Any]", scope.whole(key))
        if marks.true in words and all(word in (marks.true, marks.false) for word in words):  # llama.cpp wants one
            found[marks.key] = [word == marks.true for word in words]
    return found


def _require_usual(scope: Scope, section: Gguf) -> None:
    """Hold a configuration against the values that llama.cpp has for keys that files do not say.

    Raises:
        Mismatch: it has others.
    """
    for key, allowed in section.must.items():
        value = scope.value(key)
        if value not in allowed:
            raise Mismatch(f"{key}: {' or '.join(map(str, allowed))}", value, ("blocks",))


def _plain(config: Data, said: Said) -> Data:
    """A configuration with its numbers as fp32 has them, and its rotation as GGUF says it."""
    rounded = cast("Data", _rounded(config))
    return {**rounded, PARAMETERS: _rounded(said.parameters)} if PARAMETERS in config and said.parameters else rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in cast("Data", value).items()}
    if isinstance(value, list):
        return [_rounded(each) for each in cast("list[Any]", value)]
    return number(value)


def spec_of_config(config: Data, family: Family, head: Head) -> Spec:
    """The spec that a configuration gives.

    Raises:
        Mismatch: it gives none.
    """
    spec = spec_from(config, family, head)
    if spec is None:
        raise Mismatch(f"a configuration of {family.family}", "values that make none", ("blocks",))
    return spec


def _require_same(
    spec: Spec, metadata: Data, tensors: Mapping[str, LazyTensor], *, family: Family, section: Gguf
) -> None:
    """Hold what a file would say against the spec.

    Raises:
        Mismatch: it would be read as another one.
    """
    try:
        head = model_of(family, section, metadata).head
        config = config_of(metadata, tensors, family, section=section)
    except SourceError as error:
        place = error.problems[0]
        raise Mismatch(place.expected, place.found, ("blocks", str(place.path))) from error
    again = spec_of_config(config, family, head)
    if not same_program(spec, again):
        different = first_difference(unrolled(again), unrolled(spec))
        raise different or Mismatch("the same computation", "another", ("blocks",))


def _fp32(tensor: LazyTensor) -> LazyTensor:
    """The same numbers in fp32."""
    if tensor.dtype == "F32":
        return tensor
    return LazyTensor(tensor.shape, "F32", lambda: np.asarray(tensor.numpy()).astype(np.float32))
