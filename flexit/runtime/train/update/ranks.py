"""The processes of one run, and what they tell each other. The first leads: it alone has what is seen of the run."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from flexit.errors import UserError
from flexit.runtime.train.resources.launch import ProcessEnded, launched
from flexit.runtime.train.resources.signals import Signals
from flexit.runtime.train.saving import random_state

T = TypeVar("T")
LONGEST = timedelta(days=1)
"""That a process waits for the others: for the first one while it evaluates, say."""
PIECE = 2**26
"""Bytes of tensors that are sent at once."""


class Ranks:
    """The processes of a run. Where there is one, everything here returns at once.

    Attributes:
        count: how many there are.
        rank: number of this one, from 0.
    """

    def __init__(self, count: int = 1, rank: int = 0, control: Any = None) -> None:
        """Processes.

        Args:
            count: how many.
            rank: of this one.
            control: the group that all but tensors of the model is sent in, on the CPU.
        """
        self.count, self.rank, self._control = count, rank, control

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """Which micro-batches of an update are run here."""
        return slice(self.rank, None, self.count)

    def gathered(self, mine: T) -> list[T]:
        """What each process has, by its number.

        Raises:
            ProcessEnded: one has ended.
        """
        if self.count == 1:
            return [mine]
        found: list[Any] = [None] * self.count
        with _telling():
            dist.all_gather_object(found, mine, group=self._control)
        return found

    def led(self, act: Callable[[], T]) -> T:
        """What the first process gets by doing something; the others wait for it.

        Raises:
            UserError: the first process raised it.
            ProcessEnded: it has ended, or failed otherwise.
        """
        if self.count == 1:
            return act()
        if not self.leads:
            (failure, value), *_ = self.gathered((None, None))
            if failure is not None:
                raise failure
            return value  # pyright: ignore[reportReturnType]
        try:
            value = act()
        except BaseException as error:
            self.gathered((error if isinstance(error, UserError) else ended(0, error), None))
            raise
        self.gathered((None, value))
        return value

    def agree(self, signals: Signals, *, ends: bool) -> bool:
        """Whether the run is to end before the next update, as any of the processes wants it.

        The others take over the random states of the first one, so that each gets the same batches from a loader that
        draws.

        Args:
            signals: that came here; one that came elsewhere is noted there.
            ends: whether this process wants the run to end.
        """
        if self.count == 1:
            return ends or signals.received is not None
        states = random_state.raw()._replace(devices={}) if self.leads else None
        told = self.gathered((signals.received, ends, states))
        received = next((name for name, _, _ in told if name is not None), None)
        if received is not None:  # one that came meanwhile is told the next time
            signals.received = received
        first = told[0][2]
        if first is not None and not self.leads:
            random_state.put_back(first)
        return received is not None or any(each for _, each, _ in told)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put the sum over all processes into tensors, which each process has in the same shapes."""
        self._each(tensors, dist.all_reduce)

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Put the values of the first process into tensors, which each process has in the same shapes."""
        self._each(tensors, lambda piece: dist.broadcast(piece.view(torch.uint8), 0))

    def _each(self, tensors: Sequence[Tensor], send: Callable[[Tensor], Any]) -> None:
        """Send tensors, those of one type together, and put back what came."""
        if self.count == 1:
            return
        with torch.no_grad():
            for some in _pieces(tensors):
                piece = torch.cat([each.detach().reshape(-1) for each in some])
                with _telling():
                    send(piece)
                for each, values in zip(some, piece.split([each.numel() for each in some]), strict=True):
                    each.copy_(values.view_as(each))


ALONE = Ranks()
_joined: list[Ranks] = []


def join(device: torch.device) -> Ranks:
    """The processes that this one was started with, joined once; those that a user has joined already are taken.

    Args:
        device: that this process trains on.

    Raises:
        UserError: FX1527, no processes can train together on such devices.
        ProcessEnded: one of them has ended.
    """
    launch = launched()
    if _joined:
        return _joined[0]
    ours = not (dist.is_available() and dist.is_initialized())
    if ours and launch.count == 1:
        return ALONE
    if device.type not in ("cpu", "cuda"):
        raise UserError.of(
            "FX1527", f"processes cannot train together on {device.type}", path="device", expected="cpu or cuda",
            found=device.type, cure="start it without torchrun, or write device: cpu",
        )  # fmt: skip
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _telling():
        if ours:
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo", timeout=LONGEST, store=_store(), rank=launch.rank,
                world_size=launch.count,
            )  # fmt: skip
        if dist.get_world_size() == 1:
            return ALONE
        _joined.append(Ranks(dist.get_world_size(), dist.get_rank(), dist.new_group(backend="gloo", timeout=LONGEST)))
    if ours:
        atexit.register(_leave)
    return _joined[0]


def _store() -> Any:
    """Where processes find each other. Those that ``torchrun`` starts again find what is left of the dead there, so
    each attempt has names of its own.
    """
    library: Any = dist  # whose types leave these two out
    store, _, _ = next(iter(library.rendezvous("env://", timeout=LONGEST)))
    return library.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def ended(rank: int, error: BaseException) -> ProcessEnded:
    """What other processes are told of one that failed."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return ProcessEnded(f"process {rank} of the run has failed ({line}); the same command goes on")


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _telling() -> Iterator[None]:
    """Raise in one line what PyTorch says of a process that is gone.

    Raises:
        ProcessEnded: one is.
    """
    try:
        yield
    except RuntimeError as error:  # of gloo; DistBackendError, which is one, of nccl
        atexit.unregister(_leave)
        raise ProcessEnded(
            "another process of the run has ended; the same command goes on from the newest checkpoint"
        ) from error


def _pieces(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in groups of one type, on one device, that are small enough to be copied together."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for each in tensors:
        some = kinds.setdefault((each.dtype, each.device), [])
        if some and sum(one.nbytes for one in some) + each.nbytes > PIECE:
            yield some
            some = kinds[each.dtype, each.device] = []
        some.append(each)
    yield from (some for some in kinds.values() if some)
