"""What ``bench`` runs: the tokens that it says, sessions in turn, a first round that does not count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flexit.errors import TaskError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bench import Load, Times, measure
from flexit.runtime.sessions.torch_session import TorchSession

LOAD = Load(batch=2, prompt=7, new=3, repetitions=4)


class Recorded:
    """Writes down what is asked of a session."""

    def __init__(self, name: str, session: TorchSession, log: list[tuple[Any, ...]]) -> None:
        self.name, self.session, self.log = name, session, log
        self.interface = session.interface

    def run(self, inputs: Any) -> Any:
        self.log.append((self.name, "run", *(np.shape(value) for value in inputs.values())))
        return self.session.run(inputs)

    def start(self, inputs: Any) -> Any:
        self.log.append((self.name, "start", *(np.shape(value) for value in inputs.values())))
        return self.session.start(inputs)

    def step(self, tokens: Any, mask: Any = None, *, others: Any = None) -> Any:
        self.log.append((self.name, "step", np.shape(tokens)))
        return self.session.step(tokens, mask, others=others)

    def select(self, rows: Any) -> None:
        raise AssertionError(rows)


def logged(preset: str, load: Load = LOAD) -> tuple[list[tuple[Any, ...]], Any]:
    log: list[tuple[Any, ...]] = []
    module = to_torch(load_spec(preset))
    openers: Any = {name: lambda name=name: Recorded(name, TorchSession(module), log) for name in ("a", "b")}
    return log, measure(openers, load)


def test_sessions_take_turns() -> None:
    log, found = logged("tiny-llama")
    starts = [entry[0] for entry in log if entry[1] == "start"]
    assert starts == ["a", "b", *("b", "a", "a", "b") * 2]
    assert {entry[2:] for entry in log if entry[1] == "start"} == {((2, 7),)}
    assert [entry[0] for entry in log if entry[1] == "step"] == [name for name in starts for _ in range(3)]
    assert {entry[2] for entry in log if entry[1] == "step"} == {(2, 1)}
    for each in found:
        assert (len(each.prefill.milliseconds), each.prefill.tokens, each.decode.tokens) == (4, 14, 2)


def test_what_is_not_decoded_is_run() -> None:
    log, found = logged("tiny-bert-classifier")
    assert {entry[1] for entry in log} == {"run"}
    assert found[0].decode is None
    assert found[0].data()["decode"] is None


def test_encoders_beside_a_decoder() -> None:
    log, found = logged("tiny-two-encoders")
    assert next(entry for entry in log if entry[1] == "start")[2:] == ((2, 7),) * 3
    assert found[0].decode is not None


def test_rate_and_words() -> None:
    times = Times((4.0, 2.0, 3.0), 6)
    assert times.rate == 2000
    assert str(times) == "3.00 (2.00 to 4.00)"


def test_more_than_the_model_has_positions() -> None:
    with pytest.raises(TaskError, match="at most 64 tokens in all; found 65"):
        logged("tiny-bert-classifier", Load(prompt=65))
    with pytest.raises(TaskError, match="FX2003"):
        logged("tiny-gpt2", Load(prompt=10_000))
