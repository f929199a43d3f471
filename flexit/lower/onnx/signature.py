"""Names of graph inputs and outputs, as the ecosystem expects them. The one place where IR paths become ONNX names."""

from __future__ import annotations

from collections.abc import Sequence

from flexit.ir.program import State


def state_names(states: Sequence[State]) -> dict[str, tuple[str, str]]:
    """State path -> (input name, output name).

    Keys and values are numbered in program order over the whole graph: ``past_key_values.N.key`` and
    ``present.N.key``; those of cross-attention, which are computed once, ``cross_key_values.N.key``; any other state
    is ``past_states.<path>`` and ``present_states.<path>``.
    """
    numbers: dict[str, dict[str, int]] = {"append": {}, "static": {}}
    names: dict[str, tuple[str, str]] = {}
    for state in states:
        owner, _, slot = state.path.rpartition(".")
        if slot in ("key", "value") and state.rule in numbers:
            number = numbers[state.rule].setdefault(owner, len(numbers[state.rule]))
            if state.rule == "static":
                name = f"cross_key_values.{number}.{slot}"
                names[state.path] = (name, name)
            else:
                names[state.path] = (f"past_key_values.{number}.{slot}", f"present.{number}.{slot}")
        else:
            names[state.path] = (f"past_states.{state.path}", f"present_states.{state.path}")
    return names
