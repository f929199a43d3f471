"""How close the routing choices of a program are: a top-k edge within the tolerance may fall either way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from flexit.ir.ops.top_k import TopK
from flexit.ir.passes.inline import inline
from flexit.ir.program import Node, Value
from flexit.lower.torch.module import FlexitModule
from flexit.runtime.proof.compare import validity
from flexit.runtime.sessions.session import Array
from flexit.runtime.sessions.torch_session import TorchSession, sharing

Margins = Callable[[Mapping[str, Array]], Array]


def margins_of(module: FlexitModule) -> Margins:
    """A function from inputs to the margins of all top-k choices, ``float64[batch, choices]``; infinite at pads.

    Where only the values of a top-k are read, nothing is chosen: they move with what they are taken from.
    """
    flat = inline(module.program)
    nodes = [node for node in flat.root.nodes if isinstance(node, Node)]
    read = {value for node in nodes for value in node.inputs} | {*flat.root.outputs, *flat.root.side.values()}
    edges: dict[str, tuple[Value, int]] = {}
    for number, node in enumerate(nodes):
        if isinstance(node.op, TopK) and node.inputs[0] is not None and node.outputs[1] in read:
            edges[f"choice_{number}"] = (node.inputs[0], node.op.k)
    if not edges:
        return lambda inputs: np.zeros((len(next(iter(inputs.values()))), 0))
    outputs = {path: value for path, (value, _) in edges.items()}
    root = replace(flat.root, outputs=tuple(outputs.values()), side={})
    probed = replace(flat, outputs=outputs, decoded=None, root=root)
    session = TorchSession(sharing(module, probed))

    def margins(inputs: Mapping[str, Array]) -> Array:
        scores = session.run(inputs)
        found = [_margin(scores[path], k, validity(probed, path, inputs)) for path, (_, k) in edges.items()]
        return np.concatenate(found, axis=1)

    return margins


def _margin(scores: Array, k: int, valid: Array | None) -> Array:
    """The margins of each row of ``[batch, ..., candidates]``, relative to the largest score."""
    if k == scores.shape[-1]:
        return np.zeros((len(scores), 0))
    ordered = np.sort(scores.astype(np.float64), axis=-1)[..., ::-1]
    largest = np.maximum(np.abs(ordered).max(axis=-1), np.finfo(np.float64).tiny)
    margins = (ordered[..., k - 1] - ordered[..., k]) / largest
    if valid is not None:
        margins = np.where(valid, margins, np.inf)
    return margins.reshape(len(scores), -1)
