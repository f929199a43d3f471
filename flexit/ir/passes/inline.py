"""``inline``: one flat region with absolute paths. Backends without functions emit it, and proof reads its marks."""

from __future__ import annotations

from dataclasses import replace

from flexit.ir.program import Call, Node, Param, Program, Region, State, Value, at_path, join


def inline(program: Program) -> Program:
    """The same program without calls; parameters, states, side outputs and marks keep their absolute paths."""
    inliner = _Inliner()
    seen = {value: value for value in program.root.inputs}
    inliner.region(program.root, seen, path="", weights="")
    root = Region(
        name=program.root.name, inputs=program.root.inputs, nodes=tuple(inliner.nodes),
        outputs=tuple(seen[value] for value in program.root.outputs),
        side={path: seen[value] for path, value in program.root.side.items()}, marks=inliner.marks,
    )  # fmt: skip
    return replace(program, root=root, outputs={name: seen[value] for name, value in program.outputs.items()})


class _Inliner:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.marks: dict[str, Value] = {}

    def region(self, region: Region, seen: dict[Value, Value], *, path: str, weights: str) -> None:
        for node in region.nodes:
            if isinstance(node, Call):
                inner = {formal: seen[value] for formal, value in zip(node.region.inputs, node.inputs, strict=True)}
                self.region(node.region, inner, path=join(path, node.path), weights=join(weights, node.weights))
                results = (*node.region.outputs, *node.region.side.values())
                seen |= {value: inner[result] for value, result in zip(node.outputs, results, strict=True)}
            else:
                self._node(node, seen, path=path, weights=weights)
        self.marks |= {join(path, mark): seen[value] for mark, value in region.marks.items()}

    def _node(self, node: Node, seen: dict[Value, Value], *, path: str, weights: str) -> None:
        fresh = tuple(Value(join(path, value.name), value.type) for value in node.outputs)
        seen |= dict(zip(node.outputs, fresh, strict=True))
        self.nodes.append(
            Node(
                op=node.op,
                inputs=tuple(None if value is None else seen[value] for value in node.inputs),
                outputs=fresh,
                path=join(path, node.path),
                params={slot: _moved(param, seen, weights) for slot, param in node.params.items()},
                states=tuple(_below(state, path) for state in node.states),
            )
        )


def _moved(param: Param | Value, seen: dict[Value, Value], weights: str) -> Param | Value:
    return at_path(param, join(weights, param.path)) if isinstance(param, Param) else seen[param]


def _below(state: State, path: str) -> State:
    return state.below(path) if path else state
