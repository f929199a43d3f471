"""Metadata that stand for tensors: a number for each layer, as the scalars of xIELU in files of Apertus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from flexit.convert.gguf.rotation import number
from flexit.convert.mapping.forms import Data
from flexit.convert.mapping.gguf_section import Gguf
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.ir.wording import shown

LAYERS = "block_count"
MOST = 100_000
"""Layers that a number may be said for at once."""


def bare_keys(section: Gguf) -> frozenset[str]:
    """Keys of such metadata, before which no architecture stands."""
    return frozenset({*section.numbers, *section.known})


def from_numbers(metadata: Mapping[str, Any], section: Gguf) -> dict[str, LazyTensor]:
    """Tensors of one number each, ``key.layer``.

    Args:
        metadata: by key, without the architecture.
        section: which of them are such.

    Raises:
        SourceError: FX1855, metadata that are no numbers, or not one for each layer.
    """
    found: dict[str, LazyTensor] = {}
    for key in section.numbers:
        for layer, value in enumerate(_by_layer(metadata, key)):
            found[f"{key}.{layer}"] = LazyTensor((1,), "F32", lambda value=value: np.asarray([value], np.float32))
    return found


def as_numbers(tensors: Mapping[str, LazyTensor], section: Gguf) -> tuple[Data, dict[str, LazyTensor]]:
    """The other way round: metadata, and the tensors that are left."""
    told: dict[str, dict[int, float]] = {}
    left: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        key, _, layer = name.rpartition(".")
        if key in section.numbers:
            told.setdefault(key, {})[int(layer)] = float(tensor.numpy().reshape(()))
        else:
            left[name] = tensor
    return {key: [values[layer] for layer in sorted(values)] for key, values in told.items()}, left


def require_known(metadata: Mapping[str, Any], section: Gguf) -> None:
    """Hold metadata against the values that models of a family have.

    Raises:
        SourceError: FX1855, they are others.
    """
    for key, value in section.known.items():
        if any(number(each) != value for each in _by_layer(metadata, key)):
            raise _wrong(key, f"{value} in every layer", metadata[key])


def _by_layer(metadata: Mapping[str, Any], key: str) -> list[float]:
    """A number for each layer: those that metadata list, or one for all."""
    value, layers = metadata.get(key), metadata.get(LAYERS)
    count = layers if isinstance(layers, int) and not isinstance(layers, bool) and 0 < layers <= MOST else 0
    values = cast("list[Any]", value) if isinstance(value, list) else [value] * count
    if not values or len(values) != count or not all(isinstance(each, float) for each in values):
        raise _wrong(key, f"a number for each of {count} layers", value)
    return cast("list[float]", values)


def _wrong(key: str, expected: str, found: Any) -> SourceError:
    return SourceError.of(
        "FX1855", "metadata that are missing or not understood", path=key, expected=expected, found=shown(found),
        cure="take the checkpoint that the file was made of",
    )  # fmt: skip
