"""The structure of a region as a hash: ops, attributes, shapes and relative parameter paths, with values numbered by
order. Equal structures compute the same function of their inputs and parameters. Names are not part of it.
"""

from __future__ import annotations

import hashlib
from itertools import count

from flexit.ir.ops.dropout import Dropout
from flexit.ir.ops.experts import Experts
from flexit.ir.program import Call, Node, Param, Region, Value


def structure(region: Region, *, training: bool = True) -> str:
    """Hash of one region with everything it calls.

    Args:
        region: what to hash.
        training: whether dropout counts.
    """
    return Structures(training=training).of(region)


class Structures:
    """Hashes of many regions, each computed once."""

    def __init__(self, *, training: bool = True) -> None:
        self.training = training
        self.known: dict[Region, str] = {}

    def of(self, region: Region) -> str:
        """The hash of one region."""
        if region not in self.known:
            numbers = _Numbers()
            lines = [f"in {_number(numbers, value)} {value.type}" for value in region.inputs]
            for node in region.nodes:
                lines += self._call(node, numbers) if isinstance(node, Call) else self._node(node, numbers)
            lines += [f"out {numbers[value]}" for value in region.outputs]
            lines += [f"side {path} {numbers[value]}" for path, value in region.side.items()]
            self.known[region] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        return self.known[region]

    def _node(self, node: Node, numbers: _Numbers) -> list[str]:
        inputs = ["_" if value is None else str(numbers[value]) for value in node.inputs]
        if isinstance(node.op, Dropout) and not self.training and node.inputs[0] is not None:
            numbers[node.output] = numbers[node.inputs[0]]
            return []
        outputs = [f"{_number(numbers, value)} {value.type}" for value in node.outputs]
        lines = [f"{outputs} = {node.op.name} {inputs} {self._attributes(node)}"]
        for slot, param in node.params.items():
            lines.append(
                f"param {slot} {f'{param.path} {param.shape}' if isinstance(param, Param) else numbers[param]}"
            )
        return lines + [f"state {state.path} {state.rule} {state.axis} {state.type}" for state in node.states]

    def _attributes(self, node: Node) -> str:
        found: list[str] = []
        for name, value in node.op.attributes():
            if name == "dropout" and not self.training:
                continue
            shown = self.of(value) if isinstance(node.op, Experts) and isinstance(value, Region) else repr(value)
            found.append(f"{name}={shown}")
        return ",".join(found)

    def _call(self, call: Call, numbers: _Numbers) -> list[str]:
        inputs = [str(numbers[value]) for value in call.inputs]
        outputs = [str(_number(numbers, value)) for value in call.outputs]
        return [f"{outputs} = call {self.of(call.region)} {inputs} at {call.path} {call.weights}"]


class _Numbers(dict[Value, int]):
    """Numbers of values; one that a dropout passes on has the number of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh = count()


def _number(numbers: _Numbers, value: Value) -> int:
    numbers[value] = next(numbers.fresh)
    return numbers[value]
