"""Latent attention in GGUF files: what makes keys and values of the latent vector is a matrix of each head for either.

``attn_kv_b`` of checkpoints has the rows of a head's keys, then of its values; files have ``attn_k_b``, each head's
transposed so that queries can be multiplied by it, and ``attn_v_b`` (llama.cpp's ``convert_hf_to_gguf.py``). Older
files have the one matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from flexit.convert.mapping.patterns import filled, match
from flexit.convert.tensors import Array, LazyTensor, combined

BOTH, KEYS, VALUES = "blk.{n}.attn_kv_b.weight", "blk.{n}.attn_k_b.weight", "blk.{n}.attn_v_b.weight"


def joined(tensors: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Tensors of a file with the one matrix for every two that go together."""
    found: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        values = match(VALUES, name)
        if values is not None and filled(KEYS, values) in tensors:
            continue
        keys = match(KEYS, name)
        other = None if keys is None else tensors.get(filled(VALUES, keys))
        if keys is None or other is None or not _go_together(tensor, other):
            found[name] = tensor
            continue
        heads, latent, wide = tensor.shape
        shape = (heads * (wide + other.shape[1]), latent)
        parts = [tensor, other] if tensor.dtype == other.dtype else [_fp32(tensor), _fp32(other)]
        found[filled(BOTH, keys)] = combined(parts, shape, _join)
    return found


def _fp32(tensor: LazyTensor) -> LazyTensor:
    return LazyTensor(tensor.shape, "F32", lambda: np.asarray(tensor.numpy()).astype(np.float32))


def _go_together(keys: LazyTensor, values: LazyTensor) -> bool:
    three = len(keys.shape) == len(values.shape) == 3
    return three and (keys.shape[0], keys.shape[1]) == (values.shape[0], values.shape[2])


def _join(arrays: Sequence[Array]) -> Array:
    keys, values = arrays
    rows = np.concatenate([keys.swapaxes(1, 2), values], axis=1)
    return rows.reshape(-1, rows.shape[-1])


def split(tensors: Mapping[str, LazyTensor], *, n_heads: int, values: int) -> dict[str, LazyTensor]:
    """Tensors for a file: two for every matrix of both.

    Args:
        tensors: by name.
        n_heads: heads of attention.
        values: channels of a head's values.
    """
    found: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        layer = match(BOTH, name)
        if layer is None:
            found[name] = tensor
            continue
        rows, latent = tensor.shape
        wide = rows // n_heads - values

        def keys_of(arrays: Sequence[Array], wide: int = wide) -> Array:
            return np.ascontiguousarray(_by_head(arrays[0], n_heads)[:, :wide].swapaxes(1, 2))

        def values_of(arrays: Sequence[Array], wide: int = wide) -> Array:
            return np.ascontiguousarray(_by_head(arrays[0], n_heads)[:, wide:])

        found[filled(KEYS, layer)] = combined([tensor], (n_heads, latent, wide), keys_of)
        found[filled(VALUES, layer)] = combined([tensor], (n_heads, values, latent), values_of)
    return found


def _by_head(rows: Array, n_heads: int) -> Array:
    return rows.reshape(n_heads, -1, rows.shape[-1])
