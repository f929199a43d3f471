"""Is a residual stream of pre-norm layers normed before it is used? (A warning.)"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.checks.walk import Walk
from flexit.ir.expansion.expand import output_edges
from flexit.ir.expansion.scope import EDGE
from flexit.ir.language.layers import Varied


def check(walk: Walk) -> Iterator[Problem]:
    """FX0901."""
    for scope in walk.scopes:
        users: dict[str, str] = {}
        for reader, wires in scope.resolved.wires.items():
            for port, sources in wires.items():
                for source in sources:
                    if source.index is None and (port == "memory" or scope.blocks[reader].output == "logits"):
                        users.setdefault(source.name, f"{reader}, as {port}" if port == "memory" else reader)
        if scope.owner is None:
            matches = (EDGE.fullmatch(edge) for edge in output_edges(walk.spec).values())
            users |= {match["name"]: "an output" for match in matches if match is not None and not match["port"]}
        for name, user in users.items():
            block = scope.blocks.get(name)
            if block is not None and isinstance(block, Varied) and block.open_stream:
                yield scope.problem(name, Fault(
                    code="FX0901", field="final_norm", message="pre-norm layers without a final norm",
                    expected=f"a norm between the layers and {user}, which reads them", found="none",
                    cure="add final_norm: true",
                ))  # fmt: skip
