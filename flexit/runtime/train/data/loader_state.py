"""The state of a loader that says where it is, as JSON data: torchdata's has tensors in it, a dataset's own may too."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train.arguments import article

_MARK = "$"
"""The key of a mapping that stands for what JSON does not have."""


def packed(state: Any) -> Any:
    """A state as JSON data; what JSON has stays as it is.

    Args:
        state: JSON data with tensors, arrays, bytes, tuples and mappings with any such keys in it.

    Raises:
        UserError: FX1704, there is something else in it.
    """
    if state is None or isinstance(state, bool | str) or type(state) in (int, float):
        return state
    if isinstance(state, list):
        return [packed(each) for each in cast("list[Any]", state)]
    if isinstance(state, tuple):
        return {_MARK: "tuple", "of": [packed(each) for each in cast("tuple[Any, ...]", state)]}
    if isinstance(state, Mapping):
        found = cast("Mapping[Any, Any]", state)
        if _MARK in found or not all(isinstance(key, str) for key in found):
            return {_MARK: "mapping", "of": [[packed(key), packed(value)] for key, value in found.items()]}
        return {key: packed(value) for key, value in found.items()}
    if isinstance(state, bytes):
        return {_MARK: "bytes", "of": _text(state)}
    if isinstance(state, Tensor):
        plain = state.detach().cpu().contiguous()
        content = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
        return {_MARK: "tensor", "dtype": str(plain.dtype)[6:], "shape": list(plain.shape), "of": _text(content)}
    if isinstance(state, np.ndarray | np.generic) and state.dtype.kind in "biuf":
        return {_MARK: "array", "dtype": state.dtype.str, "shape": list(state.shape), "of": _text(state.tobytes())}
    raise UserError.of(
        "FX1704", "the state of the loader cannot be kept in a checkpoint", path="train_dataloader",
        expected="numbers, texts, bytes, lists, mappings, tensors and arrays in state_dict()",
        found=article(cast("object", state)), cure="give what is in it as such, in the dataset's own state_dict",
    )  # fmt: skip


def unpacked(data: Any) -> Any:
    """The state that :func:`packed` made data of."""
    if isinstance(data, list):
        return [unpacked(each) for each in cast("list[Any]", data)]
    if not isinstance(data, dict):
        return data
    found = cast("dict[str, Any]", data)
    match found.get(_MARK):
        case "tuple":
            return tuple(unpacked(each) for each in found["of"])
        case "mapping":
            return {unpacked(key): unpacked(value) for key, value in found["of"]}
        case "bytes":
            return base64.b64decode(found["of"])
        case "tensor":
            content = torch.frombuffer(bytearray(base64.b64decode(found["of"]) or b"\0"), dtype=torch.uint8)
            whole = content if found["of"] else content[:0]
            return whole.view(getattr(torch, found["dtype"])).reshape(found["shape"])
        case "array":
            flat = np.frombuffer(base64.b64decode(found["of"]), found["dtype"])
            return flat.reshape(found["shape"]).copy()
        case _:
            return {key: unpacked(value) for key, value in found.items()}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
