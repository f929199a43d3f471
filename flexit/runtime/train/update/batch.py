"""A batch as the trainer uses it: tensors by name, on the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train.arguments import article

EXAMPLE = '{"input_ids": ..., "labels": ...}'


def prepared(given: object, device: torch.device, *, loader: str, place: str) -> dict[str, Tensor]:
    """The entries of a batch as tensors on a device; arrays of numpy become tensors.

    Args:
        given: what the loader gave.
        device: where to.
        loader: the argument that the loader is.
        place: which batch it is, for messages.

    Raises:
        UserError: FX1704, it is no mapping of names to tensors and arrays.
    """
    if not isinstance(given, Mapping) or not given or not all(isinstance(name, str) for name in given):
        found = "an empty mapping" if isinstance(given, Mapping) and not given else article(given)
        raise _no_batch(
            loader, place, expected="a mapping of names to tensors", found=found,
            cure=f"let the loader give {EXAMPLE}, by its dataset or its collate_fn",
        )  # fmt: skip
    batch = {
        str(name): _tensor(value, str(name), loader=loader, place=place).to(device) for name, value in given.items()
    }
    if not any(value.dim() for value in batch.values()):
        raise _no_batch(
            loader, place, expected="entries with rows", found="single numbers alone",
            cure="stack the examples of a batch along a first axis",
        )  # fmt: skip
    return batch


def _tensor(value: object, name: str, *, loader: str, place: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        native = array.dtype.newbyteorder("=")
        if not (array.flags.writeable and array.flags.c_contiguous and array.dtype == native):
            array = array.astype(native, order="C")
        try:
            return torch.as_tensor(array)
        except (TypeError, ValueError):
            found = f"an array of {array.dtype}"
    else:
        found = article(value)
    raise _no_batch(
        f"{loader}.{name}", place, expected="a tensor or an array of numbers", found=found,
        cure=f"make {name} a tensor, or leave it out of the batch",
    )  # fmt: skip


def _no_batch(path: str, place: str, *, expected: str, found: str, cure: str) -> UserError:
    return UserError.of(
        "FX1704", f"{place} cannot be used", path=path, expected=expected, found=found, cure=cure
    )  # fmt: skip
