"""``bench``: how long a bundle reads and writes tokens and what memory it takes, beside PyTorch, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from flexit.errors import TaskError
from flexit.runtime.bundles.bundle import read_bundle, session_on
from flexit.runtime.sessions.arrays import Array
from flexit.runtime.sessions.interface import Entry, Interface
from flexit.runtime.sessions.session import Session

Opener = Callable[[], Session]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is measured: ``prompt`` tokens of ``batch`` rows at once, then ``new`` ones of each, so many times."""

    batch: int = 1
    prompt: int = 128
    new: int = 32
    repetitions: int = 5


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of each repetition, and the tokens that they were taken for.

    Attributes:
        tokens: of all rows, in one of ``milliseconds``.
    """

    milliseconds: tuple[float, ...]
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens a second, of the median."""
        return self.tokens / median(self.milliseconds) * 1e3

    def __str__(self) -> str:
        low, high = min(self.milliseconds), max(self.milliseconds)
        return f"{median(self.milliseconds):.2f} ({low:.2f} to {high:.2f})"

    def data(self) -> dict[str, float]:
        """As JSON has it."""
        low, high = min(self.milliseconds), max(self.milliseconds)
        return {"median_ms": median(self.milliseconds), "min_ms": low, "max_ms": high, "tokens_per_second": self.rate}


@dataclass(frozen=True, slots=True)
class Measured:
    """One session.

    Attributes:
        prefill: of the prompt; of the whole run where nothing is decoded.
        decode: of one further token of each row, or None where nothing is decoded.
        memory: bytes that the process holds more since the session was opened and used once.
    """

    session: str
    prefill: Times
    decode: Times | None
    memory: int

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        decode = None if self.decode is None else self.decode.data()
        return {"session": self.session, "prefill": self.prefill.data(), "decode": decode, "memory_bytes": self.memory}


def sessions_on(
    folder: str | Path, *, threads: int = 0, progress: Callable[[str], None] | None = None
) -> dict[str, Opener]:
    """What opens a session on a bundle by name: ``ONNX Runtime``, and ``PyTorch`` where that is installed.

    PyTorch has the bundle's spec with first weights: what weights are does not change how long they take.

    Args:
        folder: the bundle.
        threads: of one operator; 0 takes all cores.
        progress: called with what is being done, if it lasts.

    Raises:
        BundleError: the folder is no sound bundle.
    """
    bundle = read_bundle(folder)
    if progress is not None:
        progress("looking for PyTorch")
    openers: dict[str, Opener] = {"ONNX Runtime": lambda: session_on(bundle, threads=threads)}
    try:
        import torch
    except ModuleNotFoundError:
        return openers

    def in_torch() -> Session:
        from flexit.lower.torch.module import to_torch
        from flexit.runtime.saved import spec_in
        from flexit.runtime.sessions.torch_session import TorchSession

        if threads:
            torch.set_num_threads(threads)
        return TorchSession(to_torch(spec_in(bundle.folder), seed=0))

    return {**openers, "PyTorch": in_torch}


def measure(
    openers: Mapping[str, Opener], load: Load, *, progress: Callable[[int, int], None] | None = None
) -> list[Measured]:
    """Open sessions and time them in turn, each repetition in the other order, on the same random inputs.

    Args:
        openers: what opens each session, by name.
        load: what is measured.
        progress: called with how many rounds are done, and how many there are.

    Raises:
        TaskError: FX2003, the model has fewer positions.
    """
    sessions: dict[str, Session] = {}
    memory: dict[str, int] = {}
    rounds, done = len(openers) * (load.repetitions + 1), 0
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in openers}
    for name, opener in openers.items():
        before = _resident()
        sessions[name] = opener()
        _require_room(sessions[name].interface, load)
        _round(sessions[name], load)  # the first one does not count
        memory[name] = max(_resident() - before, 0)
        done += 1
        _tell(progress, done, rounds)
    for repetition in range(load.repetitions):
        for name in list(sessions)[:: 1 if repetition % 2 else -1]:
            taken[name].append(_round(sessions[name], load))
            done += 1
            _tell(progress, done, rounds)
    return [_measured(name, sessions[name], load, taken=taken[name], memory=memory[name]) for name in sessions]


def _measured(
    name: str, session: Session, load: Load, *, taken: Sequence[tuple[float, float]], memory: int
) -> Measured:  # fmt: skip
    prefill = Times(tuple(seconds * 1e3 for seconds, _ in taken), load.batch * load.prompt)
    decode = Times(tuple(seconds * 1e3 / load.new for _, seconds in taken), load.batch)
    return Measured(name, prefill, None if session.interface.decoded is None else decode, memory)


def _round(session: Session, load: Load) -> tuple[float, float]:
    """Seconds of the prompt, and of the new tokens together; 0 where nothing is decoded."""
    rng = np.random.default_rng(0)
    interface = session.interface
    inputs = {
        entry.name: _random(entry, (load.batch, load.prompt), rng)
        for entry in interface.inputs
        if entry.role in ("ids", "values", "vector")
    }
    if interface.decoded is None:
        return _seconds(lambda: session.run(inputs)), 0.0
    own, _ = interface.require_decoded()
    steps = [
        (_random(own, (load.batch, 1), rng), {n: inputs[n][:, :1] for n in interface.beside}) for _ in range(load.new)
    ]
    prompt = _seconds(lambda: session.start(inputs))

    def decode() -> None:
        for tokens, others in steps:
            session.step(tokens, others=others)

    return prompt, _seconds(decode)


def _random(entry: Entry, size: tuple[int, int], rng: np.random.Generator) -> Array:
    if entry.role == "ids":
        return rng.integers(0, entry.limit or 2, size)
    shape = (*size, entry.width or 1) if entry.role == "values" else (size[0], entry.width or 1)
    return rng.standard_normal(shape).astype(np.float32)


def _require_room(interface: Interface, load: Load) -> None:
    for entry in interface.inputs:
        longest = interface.longest(entry.group)
        tokens = load.prompt + (load.new if entry.group == interface.decoded else 0)
        if longest is not None and tokens > longest:
            raise TaskError.of(
                "FX2003", "the text would be longer than the model has positions", path=entry.name,
                expected=f"at most {longest} tokens in all", found=f"{tokens}", cure="give a lower --prompt or --new",
            )  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _tell(progress: Callable[[int, int], None] | None, done: int, rounds: int) -> None:
    if progress is not None:
        progress(done, rounds)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    import psutil

    return psutil.Process().memory_info().rss
