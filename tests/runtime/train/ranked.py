"""Trainings that are carried out on one process, and by ``torchrun`` on several, and say what came of them.

``python -m tests.runtime.train.ranked FOLDER`` writes a file for each process into a folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from flexit.errors import UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.saving.saved_steps import checkpoints
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy, router_masks
from flexit.runtime.train.update.step import Step

STEPS = 10
VOCABULARY = 40


class Said(Callback):
    """Losses and norms of all updates."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []
        self.norms: list[float | None] = []
        self.tokens: list[int] = []

    def after_step(self, trainer: Trainer, step: Step) -> None:
        self.losses.append(dict(step.losses))
        self.norms.append(step.grad_norm)
        self.tokens.append(step.tokens)


class Halves(nn.Module):
    """Two tables, of which a batch uses one: the other has no gradient in some processes. A third is never used."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.tables = nn.ModuleList(nn.Linear(4, 5) for _ in range(3))

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        return self.tables[int(which[0])](x)


def ragged(count: int, *, seed: int = 0) -> list[dict[str, Tensor]]:
    """Batches of rows of different lengths, some without any label."""
    draw = torch.Generator().manual_seed(seed)
    made: list[dict[str, Tensor]] = []
    for number in range(count):
        rows, width = 3, int(torch.randint(4, 12, (), generator=draw))
        ids = torch.randint(0, VOCABULARY, (rows, width), generator=draw)
        lengths = torch.randint(2, width + 1, (rows, 1), generator=draw)
        mask = torch.arange(width)[None] < lengths
        labels = torch.where(mask, ids.roll(-1, 1), -100)
        if number % 5 == 3:
            labels = torch.full_like(labels, -100)
        made.append({"input_ids": ids, "attention_mask": mask.long(), "labels": labels})
    return made


def said(
    model: nn.Module, loss: Any, loader: Iterable[Any], *, optimizer: torch.optim.Optimizer | None = None,
    lr: float = 1e-3, **config: Any,
) -> dict[str, Any]:  # fmt: skip
    """What comes of a training."""
    seen = Said()
    trainer = Trainer(
        model, optimizer or torch.optim.AdamW(model.parameters(), lr=lr), loss, loader, callbacks=[seen],
        config={"accumulate": 4, "progress": False, "device": "cpu", **config},
    )  # fmt: skip
    result = trainer.fit(steps=STEPS)
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    without = [name for name, value in model.named_parameters() if value.grad is None]
    return {
        "losses": seen.losses, "norms": seen.norms, "counts": seen.tokens, "weights": weights, "without": without,
        "result": (result.step, result.tokens, result.loss),
    }  # fmt: skip


def lm(preset: str, **loss: Any) -> dict[str, Any]:
    spec = load_spec(preset, sets=[f"blocks.embed.vocab_size={VOCABULARY}"])
    model = to_torch(spec, seed=0)
    return said(model, CrossEntropy(**loss, masks=router_masks(model.program)), ragged(23), ema={"decay": 0.9})


def in_double() -> dict[str, Any]:
    model = to_torch(load_spec("tiny-llama", sets=[f"blocks.embed.vocab_size={VOCABULARY}"]), seed=0).double()
    return said(model, CrossEntropy(), ragged(23), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))


def halves() -> dict[str, Any]:
    draw = torch.Generator().manual_seed(5)
    batches = [
        {"x": torch.randn(6, 4, generator=draw), "labels": torch.randint(0, 5, (6,), generator=draw),
         "which": torch.tensor([int(number % 5 == 0)] * 6)}
        for number in range(13)
    ]  # fmt: skip
    return said(Halves(), lambda outputs, batch: nn.functional.cross_entropy(outputs, batch["labels"]), batches)


def shuffled() -> dict[str, Any]:
    """A loader of PyTorch that draws its order from the state that all of PyTorch has."""
    model = to_torch(load_spec("tiny-llama", sets=[f"blocks.embed.vocab_size={VOCABULARY}"]), seed=0)
    return said(model, CrossEntropy(), DataLoader[Any](cast(Any, ragged(23)), batch_size=None, shuffle=True))


def _poisoned(bad: set[int], outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    loss = CrossEntropy()(outputs, batch)["loss"]
    return loss * float("nan") if int(batch["input_ids"].sum()) in bad else loss


def not_finite(policy: str, out: Path) -> dict[str, Any]:
    """Updates with a batch that gives no number; of the micro-batches of the second process, where there are two."""
    batches = ragged(23, seed=2)
    bad = {int(batches[5]["input_ids"].sum())}
    model = to_torch(load_spec("tiny-llama", sets=[f"blocks.embed.vocab_size={VOCABULARY}"]), seed=0)
    given: Any = policy if policy == "stop" else {"kind": policy}
    try:
        found = said(
            model, partial(_poisoned, bad), batches, out=str(out / policy), non_finite=given, checkpoint={"every": 2}
        )
    except UserError as error:
        found = {"code": error.code, "found": error.problems[0].found}
    names = [path.name for path in checkpoints(out / policy / "checkpoints")]
    return found | {"checkpoints": names, "failures": sorted(each.name for each in (out / policy).glob("failures/*"))}


def refused(act: Callable[[], Any]) -> dict[str, Any]:
    try:
        act()
    except UserError as error:
        return {"code": error.code, "message": str(error)}
    return {"code": None, "message": ""}


def other_batches() -> dict[str, Any]:
    """A loader that has other batches in each process."""
    draw = torch.Generator().manual_seed(int(os.environ.get("RANK", "0")))
    batches = [{"x": torch.randn(2, 4, generator=draw), "which": torch.zeros(2)} for _ in range(4)]
    return said(Halves(), lambda outputs, batch: outputs.mean(), batches)


def fails_elsewhere() -> dict[str, Any]:
    """A loss that only the last process cannot compute."""

    def loss(outputs: Tensor, batch: Any) -> Any:
        return 1.0 if os.environ.get("RANK") == "1" else outputs.mean()

    return said(Halves(), loss, [{"x": torch.ones(2, 4), "which": torch.zeros(2)}])


def other_weights() -> dict[str, Any]:
    """First weights that each process has drawn otherwise: those of the first one count."""
    model = Halves()
    with torch.no_grad():
        for each in model.parameters():
            each.add_(int(os.environ.get("RANK", "0")))
    return said(
        model, lambda outputs, batch: outputs.square().mean(), [{"x": torch.ones(2, 4), "which": torch.ones(2)}]
    )


def all_of_them(out: Path) -> dict[str, dict[str, Any]]:
    """What comes of each training."""
    torch.set_num_threads(1)
    return {
        "plain": lm("tiny-llama"), "routed": lm("tiny-moe", router_balance=0.02, router_z=0.01),
        "double": in_double(), "halves": halves(), "shuffled": shuffled(), "weights": other_weights(),
        "skip": not_finite("skip", out), "rollback": not_finite("rollback", out), "stop": not_finite("stop", out),
        "other batches": refused(other_batches), "fails elsewhere": refused(fails_elsewhere),
    }  # fmt: skip


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.save(all_of_them(folder), folder / f"said-{os.environ['RANK']}.pt")
