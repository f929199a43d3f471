"""The stable text form of a program: attributes sorted, defaults omitted, paths relative, names for people."""

from __future__ import annotations

from typing import Any, cast

from flexit.ir.ops.mask import Piece
from flexit.ir.program import Call, Node, Param, Program, Region, Value


def show(program: Program) -> str:
    """The program, regions before those that call them. Stable within one version of the IR."""
    names: dict[Region, str] = {}
    taken: set[str] = set()
    lines: list[str] = []

    def visit(region: Region) -> None:
        if region in names:
            return
        for node in region.nodes:
            if isinstance(node, Call):
                visit(node.region)
            else:
                for _, value in node.op.attributes():
                    if isinstance(value, Region):
                        visit(value)
        count, name = 1, region.name
        while name in taken:
            count, name = count + 1, f"{region.name}_{count + 1}"
        taken.add(name)
        names[region] = name
        lines.extend(_region(region, names))

    visit(program.root)
    return "\n".join(lines) + "\n"


def _region(region: Region, names: dict[Region, str]) -> list[str]:
    inputs = ", ".join(f"{value}: {value.type}" for value in region.inputs)
    outputs = ", ".join(str(value.type) for value in region.outputs)
    lines = [f"region @{names[region]}({inputs}) -> ({outputs})"]
    for node in region.nodes:
        lines += _call(node, names) if isinstance(node, Call) else _node(node, names)
    lines += [f"  side {path} = {value}" for path, value in region.side.items()]
    return [*lines, f"  return {', '.join(map(str, region.outputs))}"]


def _node(node: Node, names: dict[Region, str]) -> list[str]:
    attributes = ", ".join(f"{name}={_shown(value, names)}" for name, value in sorted(node.op.attributes()))
    lines = [
        f"  {_results(node)} = {node.op.name}({_operands(node.inputs)})"
        + (f" {{{attributes}}}" if attributes else "")
        + f" : {', '.join(str(value.type) for value in node.outputs)}"
    ]
    for slot, param in node.params.items():
        if isinstance(param, Param):
            shape = ", ".join(map(str, param.shape))
            lines.append(f"      param {slot} = {param.path} {param.role} f32[{shape}]")
        else:
            lines.append(f"      param {slot} = {param}")
    for state in node.states:
        grow = "" if state.axis is None else f" grow={state.axis}"
        lines.append(f"      state {state.path} {state.rule} batch=0{grow} {state.type}")
    return lines


def _call(call: Call, names: dict[Region, str]) -> list[str]:
    weights = "" if call.weights == call.path else f" weights {call.weights}"
    types = ", ".join(str(value.type) for value in call.outputs)
    return [
        f"  {_results(call)} = call @{names[call.region]}({_operands(call.inputs)}) at {call.path}{weights} : {types}"
    ]


def _results(node: Node | Call) -> str:
    return ", ".join(map(str, node.outputs))


def _operands(inputs: tuple[Value | None, ...]) -> str:
    used = list(inputs)
    while used and used[-1] is None:
        used.pop()
    return ", ".join("_" if value is None else str(value) for value in used)


def _shown(value: Any, names: dict[Region, str]) -> str:
    if isinstance(value, Region):
        return f"@{names[value]}"
    if isinstance(value, Piece):
        return f"({value.kind}{f' {value.size}' if value.size else ''})"
    if isinstance(value, tuple):
        parts = [_shown(entry, names) for entry in cast("tuple[Any, ...]", value)]
        return f"[{', '.join(parts)}]" if len(parts) <= 8 else f"[{', '.join(parts[:4])}, ... {len(parts)} numbers]"
    return str(value)
