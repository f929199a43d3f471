"""``cut``: one program as two, at its static states: what is computed once, and what runs at every step."""

from __future__ import annotations

from dataclasses import replace

from flexit.ir.ops.keep import Keep
from flexit.ir.passes.inline import inline
from flexit.ir.passes.prune import prune
from flexit.ir.program import Input, Node, Program, Region, Value


def has_static_states(program: Program) -> bool:
    """Whether there is anything to compute once."""
    return any(state.rule == "static" for state in program.states)


def encode(program: Program) -> Program:
    """The part that computes the static states, which become its outputs under their paths."""
    flat = inline(program)
    outputs = {
        node.states[0].path: node.inputs[0]
        for node in flat.root.nodes
        if isinstance(node, Node) and isinstance(node.op, Keep) and node.inputs[0] is not None
    }
    nodes = tuple(node for node in flat.root.nodes if isinstance(node, Node) and not node.states)
    root = replace(flat.root, nodes=nodes, outputs=tuple(outputs.values()), side={}, marks={})
    return prune(_without_unread(replace(flat, root=root, outputs=outputs, decoded=None)))


def decode(program: Program) -> Program:
    """The part that runs at every step: static states are inputs, named by their paths, and their producers go."""
    flat = inline(program)
    inputs: list[Input] = list(flat.inputs)
    given: list[Value] = list(flat.root.inputs)
    nodes: list[Node] = []
    swapped: dict[Value, Value] = {}
    for node in flat.root.nodes:
        assert isinstance(node, Node)
        if isinstance(node.op, Keep) and node.states:
            state = node.states[0]
            value = Value(state.path, state.type)
            swapped[node.output] = value
            inputs.append(Input(name=state.path, value=value, group="", role="vector"))
            given.append(value)
            continue
        nodes.append(replace(node, inputs=tuple(None if v is None else swapped.get(v, v) for v in node.inputs)))
    root = Region(
        name=flat.root.name, inputs=tuple(given), nodes=tuple(nodes), outputs=flat.root.outputs, side=flat.root.side,
        marks={path: value for path, value in flat.root.marks.items() if value not in swapped},
    )  # fmt: skip
    return prune(_without_unread(replace(flat, root=root, inputs=tuple(inputs))))


def _without_unread(program: Program) -> Program:
    """Graph inputs of the other part removed."""
    pruned = prune(program)
    read = {value for node in pruned.root.nodes for value in node.inputs if value is not None}
    read |= set(pruned.root.outputs)
    inputs = tuple(entry for entry in pruned.inputs if entry.value in read)
    values = tuple(value for value in pruned.root.inputs if value in read)
    return replace(pruned, root=replace(pruned.root, inputs=values), inputs=inputs)
