"""``embed``: one vector for each text, from a model that pools or pooled here; or the hidden states of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from flexit.errors import TaskError
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.tasks.text_model import Read, Reading, Text, TextModel, require_output, require_text_model

Pool = Literal["first", "last", "mean", "max"]

_POOLED: Mapping[str, Callable[[Array], Array]] = {
    "first": lambda states: states[0],
    "last": lambda states: states[-1],
    "mean": lambda states: states.mean(axis=0, dtype=np.float64),
    "max": lambda states: states.max(axis=0),
}


def embed(
    model: TextModel, texts: Sequence[Text], how: Reading | None = None, *, output: str | None = None,
    pool: Pool | None = None, dim: int | None = None, normalize: bool = False,
) -> Array:  # fmt: skip
    """One vector for each text, ``fp32[texts, width]``.

    Args:
        model: a session that reads texts.
        texts: texts, or pairs of them.
        how: batches, truncation, progress.
        output: name of the output; by default the only one of its kind that holds no scores.
        pool: make the vector of a text's hidden states, special tokens counted; by default the model has pooled.
        dim: keep the first numbers alone (for models trained so: Kusupati et al. 2022) and normalise.
        normalize: divide each vector by its L2 norm.

    Raises:
        TaskError: FX0801, the model has no such output; FX2003, ``pool`` or ``dim`` is out of its range; and what
            :meth:`TextModel.read` raises.
    """
    require_text_model(model)
    if pool is not None and pool not in get_args(Pool):
        raise _out_of_range("pool", ", ".join(get_args(Pool)), pool)
    rows: dict[int, Array] = {}
    name = ""
    for read in model.read(texts, how):
        name = name or _chosen(model, read, output, rank=1 if pool is None else 2)
        rows[read.index] = _vector(read, name, pool)
    vectors = np.stack([rows[index] for index in range(len(rows))])
    if dim is not None:
        if isinstance(dim, bool) or not 1 <= dim <= vectors.shape[1]:
            raise _out_of_range("dim", f"1 to {vectors.shape[1]}, the numbers that there are", dim)
        vectors = vectors[:, :dim]
    return _normalized(vectors) if normalize or dim is not None else vectors


def hidden_states(
    model: TextModel, texts: Sequence[Text], how: Reading | None = None, *, output: str | None = None
) -> list[Array]:
    """The states of each text's tokens, special ones counted, ``fp32[tokens, width]`` for each text.

    Args:
        model: a session that reads texts.
        texts: texts, or pairs of them.
        how: batches, truncation, progress.
        output: name of the output; by default the only sequence that holds no scores.

    Raises:
        TaskError: FX0801, the model has no such output; and what :meth:`TextModel.read` raises.
    """
    require_text_model(model)
    rows: dict[int, Array] = {}
    name = ""
    for read in model.read(texts, how):
        name = name or _chosen(model, read, output, rank=2)
        rows[read.index] = read.per_token(name)
    return [rows[index] for index in range(len(rows))]


def _chosen(model: TextModel, read: Read, named: str | None, *, rank: int) -> str:
    """The output that was named, else the only one of a rank (within a row) that holds no scores."""
    if named is not None:
        require_output(model.session.interface, named)
        return named
    ranks = {name: values.ndim for name, values in read.outputs.items() if not name.endswith("logits")}
    fitting = [name for name, found in ranks.items() if found == rank]
    if len(fitting) == 1:
        return fitting[0]
    what = "one vector for each text" if rank == 1 else "one vector for each token"
    raise TaskError.of(
        "FX0801", f"the model has {'several outputs' if fitting else 'no output'} of {what}", path="outputs",
        expected="one", found=", ".join(fitting or read.outputs), cure=_cure(fitting, ranks, rank=rank),
    )  # fmt: skip


def _cure(fitting: Sequence[str], ranks: Mapping[str, int], *, rank: int) -> str:
    """What helps, as the command line and as Python say it."""
    if fitting:
        return f"choose one: --output {fitting[0]} (in Python: output={fitting[0]!r})"
    if rank == 1 and 2 in ranks.values():
        return "pool its hidden states: --pool mean (in Python: pool='mean'), as the model was trained"
    wanted = "pooled vectors, or hidden states such as last_hidden_state: encoder," if rank == 1 else "hidden states"
    return f"list {wanted} under outputs: in the spec, and export again"


def _vector(read: Read, output: str, pool: Pool | None) -> Array:
    if pool is not None:
        return _POOLED[pool](read.per_token(output)).astype(np.float32)
    values = read.outputs[output]
    if values.ndim != 1:
        raise TaskError.of(
            "FX0801", f"the output {output} has a vector for each token", path=output,
            expected="one for each text", found=f"[batch, {str(list(values.shape))[1:]}",
            cure="pool it: --pool mean (in Python: pool='mean'), or ask for hidden states",
        )  # fmt: skip
    return values


def _normalized(vectors: Array) -> Array:
    norms = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=-1, keepdims=True))
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)


def _out_of_range(field: str, expected: str, found: object) -> TaskError:
    return TaskError.of(
        "FX2003", f"{field} is out of range", path=field, expected=expected, found=str(found), cure=f"correct {field}"
    )
