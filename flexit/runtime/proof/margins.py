"""How close the routing choices of a program are: a top-k edge within the tolerance may fall either way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from flexit.ir.ops.top_k import TopK
from flexit.ir.passes.inline import inline
from flexit.ir.program import Node, Program, Value
from flexit.lower.torch.module import build, fill
from flexit.runtime.session import Array
from flexit.runtime.torch_session import TorchSession


def margins_of(program: Program, weights: Mapping[str, Array]) -> Callable[[Mapping[str, Array]], list[float]]:
    """A function from inputs to the smallest relative margin at each top-k edge, over all positions."""
    flat = inline(program)
    edges: dict[str, tuple[Value, int]] = {}
    for node in flat.root.nodes:
        if isinstance(node, Node) and isinstance(node.op, TopK) and node.inputs[0] is not None:
            edges[node.path] = (node.inputs[0], node.op.k)
    if not edges:
        return lambda _: []
    outputs = {path: value for path, (value, _) in edges.items()}
    probed = replace(
        flat, outputs=outputs, decoded=None, root=replace(flat.root, outputs=tuple(outputs.values()), side={})
    )
    module = build(probed)
    fill(module, {n: weights[n] for n, _ in module.named_parameters()}, dtype=torch.float32, device=torch.device("cpu"))
    session = TorchSession(module)

    def margins(inputs: Mapping[str, Array]) -> list[float]:
        scores = session.run(inputs)
        return [_margin(scores[path], k) for path, (_, k) in edges.items()]

    return margins


def _margin(scores: Array, k: int) -> float:
    if k == scores.shape[-1]:
        return float("inf")
    ordered = np.sort(scores.astype(np.float64), axis=-1)[..., ::-1]
    return float(((ordered[..., k - 1] - ordered[..., k]) / np.abs(ordered[..., 0])).min())
