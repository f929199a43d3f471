"""SIGINT ends what comes before the training, also where Python drops the exception that it raises."""

from __future__ import annotations

import operator
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flexit.runtime.train import run as train_run
from flexit.runtime.train.resources.signals import interruptible
from flexit.runtime.train.run import train
from tests.interrupts import dropped, first_losing, in_a_destructor, in_a_weak_callback, interrupt


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    return dropped(monkeypatch)


@pytest.fixture
def noted() -> Iterator[list[int]]:
    """Signals that a handler of the user's own has seen, while it is in place."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGINT, before)


@interruptible()
def after(action: Callable[[], None], lines: list[str]) -> None:
    """A function that goes on after an action."""
    action()
    lines.append("goes on")


@pytest.mark.parametrize("lose", [in_a_weak_callback, in_a_destructor])
def test_a_lost_signal_ends_the_block(lost: list[type[BaseException]], lose: Callable[[], None]):
    lines: list[str] = []
    for count in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            after(lose, lines)
        assert (lost, lines) == ([KeyboardInterrupt] * count, ["goes on"] * count)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_block_it_is_lost(lost: list[type[BaseException]]):
    in_a_weak_callback()
    assert lost == [KeyboardInterrupt]


def test_a_signal_that_is_not_lost_ends_it_at_once():
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        after(interrupt, lines)
    assert lines == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_others_made_of_it(lost: list[type[BaseException]]):
    @interruptible()
    def half(action: Callable[[], object]) -> None:
        action()
        raise ImportError("half a module")

    with pytest.raises(KeyboardInterrupt) as caught:
        half(in_a_weak_callback)
    assert isinstance(caught.value.__cause__, ImportError)
    with pytest.raises(ImportError):
        half(list)
    assert lost == [KeyboardInterrupt]


def test_blocks_inside_of_blocks(lost: list[type[BaseException]]):
    @interruptible()
    def outer() -> None:
        with pytest.raises(KeyboardInterrupt):
            after(in_a_weak_callback, lines)
        lines.append("goes on outside")

    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        outer()
    assert (lost, lines) == ([KeyboardInterrupt], ["goes on", "goes on outside"])


def test_a_handler_of_the_users(noted: list[int]):
    handler = signal.getsignal(signal.SIGINT)
    with interruptible():
        interrupt()
        assert signal.getsignal(signal.SIGINT) is handler
    assert noted == [signal.SIGINT]


def test_outside_the_main_thread():
    lines: list[str] = []

    @interruptible()
    def function() -> None:
        lines.append("done")

    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
    assert lines == ["done"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        "find_model",
        "_claim",
        "find_material",
        "Material.examples",
        "write_identity",
        "make_optimizer",
        "Trainer.resume",
    ],
)
def test_before_the_first_step(
    write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, lost: list[type[BaseException]], where: str
):
    place = f"flexit.runtime.train.run.{where}"
    monkeypatch.setattr(place, first_losing(operator.attrgetter(where)(train_run)))
    config = write_config()
    with pytest.raises(KeyboardInterrupt):
        train(config, progress=False)
    assert lost == [KeyboardInterrupt]
    assert not (config.parent / "run" / "metrics.jsonl").exists()
