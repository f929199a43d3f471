"""Any PyTorch dataset or iterable is data of a trainer, torchdata's stateful loader too, and a run on it goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from flexit.errors import UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.config import Checkpoint
from flexit.runtime.train.data.loader_state import packed, unpacked
from tests.runtime.train.plain import batches, trainer

BATCHES = batches(10)
ROWS = [{name: value[index] for name, value in each.items()} for each in BATCHES for index in range(2)]


class ByNumber(Dataset[dict[str, torch.Tensor]]):
    """A dataset of rows by number."""

    def __len__(self) -> int:
        return len(ROWS)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return ROWS[index]


class OneByOne(IterableDataset[dict[str, torch.Tensor]]):
    """A stream of rows that says where it is, as torchdata asks it to."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        while self.at < len(ROWS):
            self.at += 1
            yield ROWS[self.at - 1]
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


LOADERS: dict[str, Callable[[], Iterable[Any]]] = {
    "list": lambda: BATCHES,
    "dataset": lambda: DataLoader(ByNumber(), batch_size=4, shuffle=True),
    "stateful dataset": lambda: StatefulDataLoader(ByNumber(), batch_size=4, shuffle=True),
    "stateful stream": lambda: StatefulDataLoader(OneByOne(), batch_size=4),
    "a worker": lambda: StatefulDataLoader(
        ByNumber(), batch_size=4, shuffle=True, num_workers=1, multiprocessing_context="forkserver"
    ),
}


class Stop(Callback):
    """Ends the run after an update."""

    def after_step(self, trainer: Any, step: Any) -> None:
        del trainer
        if step.number == 7:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each == "a worker" else ()) for each in LOADERS]
)
def test_a_run_on_it_goes_on_to_the_same_weights(tmp_path: Path, name: str):
    settings: Any = {"checkpoint": Checkpoint(every=12), "seed": 3}

    def run(folder: str, *callbacks: Callback, resume: bool = False):
        torch.manual_seed(1)
        made = trainer(LOADERS[name](), *callbacks, out=tmp_path / folder, **settings)
        if resume:
            made.resume()
        return made, made.fit(steps=12)

    whole, _ = run("whole")
    _, stopped = run("part", Stop())
    assert (stopped.step, stopped.stopped_by) == (7, "SIGTERM")
    torch.manual_seed(99)
    part, ended = run("part", resume=True)
    assert ended.step == 12
    for (key, one), (_, other) in zip(whole.model.state_dict().items(), part.model.state_dict().items(), strict=True):
        assert torch.equal(one, other), key


def test_a_state_comes_back_as_it_was():
    state = {
        "numbers": [1, 2.5, None, True, "text"], "pair": (1, (2,)), 3: {"$": "a key"}, "raw": b"\x00\xff",
        "tensors": [torch.arange(5, dtype=torch.uint8), torch.ones(2, 3, dtype=torch.bfloat16), torch.tensor(4)],
        "arrays": [np.arange(6).reshape(2, 3), np.float32(1.5)], "none": torch.zeros(0, 3),
    }  # fmt: skip
    back = unpacked(json.loads(json.dumps(packed(state))))
    assert (back["numbers"], back["pair"], back[3], back["raw"]) == (
        state["numbers"], state["pair"], state[3], state["raw"],
    )  # fmt: skip
    for one, other in zip([*state["tensors"], state["none"]], [*back["tensors"], back["none"]], strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    for one, other in zip(state["arrays"], back["arrays"], strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_a_state_of_something_else_is_refused():
    with pytest.raises(UserError, match=r"FX1704 train_dataloader: the state of the loader cannot be kept"):
        packed({"rows": [object()]})
