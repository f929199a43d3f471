"""``graph``: blocks in a scope of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from flexit.ir.block import Block, EdgeName, Port
from flexit.ir.expansion.expander import Expander
from flexit.ir.expansion.scope import BlockMap
from flexit.ir.expansion.wiring import expand_scope


class Graph(Block, kind="graph"):
    """A graph of blocks as one block; its output is the main port of the last one."""

    formula = "y = what its last block gives"
    source = "its definition"
    also_called: ClassVar[Mapping[str, str]] = {"module": "", "subgraph": ""}
    inputs: ClassVar[Mapping[str, Port]] = {"x": Port(("sequence", "tokens", "vector"))}
    output: ClassVar[EdgeName | Literal["same"]] = "same"
    takes_extra_ports: ClassVar[bool] = True
    region: ClassVar[bool] = True
    examples = (
        {"kind": "graph", "blocks": {"a": {"kind": "linear", "d_out": 16}, "b": {"kind": "add", "from": ["a", "x"]}}},
    )

    blocks: BlockMap
    """The blocks, in the order they chain."""

    def child(self, path: tuple[str, ...]) -> tuple[Block, tuple[str, ...]] | None:
        nested = self.blocks.get(path[0])
        return None if nested is None else (nested, path[1:])

    def expand(self, e: Expander, **ports: Any) -> Any:
        results = expand_scope(e, self.blocks, ports)
        last = next(reversed(self.blocks))
        e.require(last in results)
        return next(iter(results[last].values()))
