"""Wider axes: which entry of the old axis each entry of the new one is, in whole heads where there are heads.

``zero``: what is new is drawn, and nothing that was there reads it: the weights on it are zero. Exact for hidden units
and heads. ``duplicate``: what is new is what was there once more, and the weights on both are shared out (Net2WiderNet,
Chen et al. 2016, arXiv 1511.05641; for Transformers bert2BERT, Chen et al. 2022, arXiv 2110.07143). Exact for the
stream too where it grows by a whole factor, since the norms see the same mean and variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexit.runtime.transfer.axes import Axis, Described
from flexit.runtime.transfer.options import Width

Index = NDArray[np.intp]
"""For each entry of the new axis the entry of the old one, or -1."""


def index_of(axis: Axis, old: Described, new: Described, *, at: int, width: Width) -> Index | None:
    """How axis ``at`` grows; None where that cannot be said: it shrinks, or is cut into other heads.

    Of keys and values the old axis is taken to have the new number of heads already, if pooling has made it so.
    """
    n_old, n_new = old.param.shape[at], new.param.shape[at]
    if axis in ("queries", "keys", "values", "mixed"):
        return _heads(axis, old, new, at=at, width=width)
    return _grown(n_old, n_new, width) if n_new >= n_old else None


def grouped(old: Described, new: Described) -> tuple[int, int, int, int]:
    """Heads of queries, and heads of keys and values, of the old and of the new attention."""
    found: list[int] = []
    for each in (old, new):
        block: Any = each.block
        found += [block.n_heads, block.n_kv_heads or block.n_heads]
    return found[0], found[1], found[2], found[3]


def _heads(axis: Axis, old: Described, new: Described, *, at: int, width: Width) -> Index | None:
    heads_old, groups_old, heads_new, groups_new = grouped(old, new)
    if heads_old == heads_new:
        groups_old = groups_new  # pooled or repeated before
    each_old, each_new = heads_old // groups_old, heads_new // groups_new
    fits = (groups_new >= groups_old and each_new == each_old) or (groups_new == groups_old and each_new >= each_old)
    keyed = axis in ("keys", "values")
    n_old, n_new = (groups_old, groups_new) if keyed else (heads_old, heads_new)
    dim, rest = divmod(new.param.shape[at], n_new)
    if not fits or rest or old.param.shape[at] // (grouped(old, new)[1] if keyed else n_old) != dim:
        return None
    groups = _grown(groups_old, groups_new, width)
    within = np.zeros(1, np.intp) if keyed else _grown(each_old, each_new, width)
    count = 1 if keyed else each_old
    whole = groups[:, None] * count + within[None, :]
    whole[(groups[:, None] < 0) | (within[None, :] < 0)] = -1
    entries = whole.reshape(-1, 1) * dim + np.arange(dim)[None, :]
    entries[whole.reshape(-1) < 0] = -1
    return entries.reshape(-1)


def _grown(n_old: int, n_new: int, width: Width) -> Index:
    entries = np.arange(n_new)
    return np.where(entries < n_old, entries, -1) if width == "zero" else entries % n_old


def is_same(index: Index, n_old: int) -> bool:
    """Whether nothing changes along an axis."""
    return len(index) == n_old and bool((index == np.arange(n_old)).all())


def taken(array: NDArray[Any], drawn: NDArray[Any], indices: list[Index], *, matrix: bool) -> NDArray[Any]:
    """The wider array.

    Args:
        array: what was there.
        drawn: first values of what is new.
        indices: of each axis.
        matrix: whether the last axis is read by a matrix product, so that it is a sum over it that stays.
    """
    known = [np.flatnonzero(index >= 0) for index in indices]
    sources = [index[places] for index, places in zip(indices, known, strict=True)]
    values = array[np.ix_(*sources)]
    if matrix:
        count = np.bincount(sources[-1], minlength=array.shape[-1])
        values = values / count[sources[-1]]
    made = drawn.copy()
    if matrix:
        rows = np.ix_(*known[:-1])
        made[rows] = 0
    made[np.ix_(*known)] = values
    return made


def pooled(array: NDArray[Any], *, groups_old: int, groups_new: int) -> NDArray[Any]:
    """Heads of keys or values along the first axis: means of neighbours, or each several times.

    The mean is that of Ainslie et al. 2023 (GQA, arXiv 2305.13245, section 2.1). Repeating is exact.
    """
    heads = array.reshape(groups_old, -1, *array.shape[1:])
    if groups_new < groups_old:
        parts = heads.reshape(groups_new, groups_old // groups_new, *heads.shape[1:])
        heads = parts.mean(axis=1, dtype=np.float64).astype(array.dtype)
    else:
        heads = np.repeat(heads, groups_new // groups_old, axis=0)
    return heads.reshape(-1, *array.shape[1:])
