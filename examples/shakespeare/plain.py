"""The same model and training written by hand in PyTorch: ``python -m examples.shakespeare.plain [SEED [STEPS]]``.

A loop as nanoGPT made it common: rows are drawn anywhere in the text. Model, rows per step, optimizer, schedule and the
count of held-out bits are those of the run config. Nothing of flexit is in it.
"""

from __future__ import annotations

import json
import math
import sys
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.shakespeare.prepare import DATA

VOCAB, END, WIDTH, LAYERS, HEADS, LENGTH, SIZE = 257, 256, 128, 4, 4, 128, 16
RATE, WARMUP, LAST = 2e-3, 100, 0.1


class Layer(nn.Module):
    """Norm, attention, norm, feed-forward."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(found.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Gpt(nn.Module):
    """Learned positions, layers with the norm first, scores read from the table of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCAB, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers, self.norm = nn.Sequential(*(Layer() for _ in range(LAYERS))), nn.LayerNorm(WIDTH)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if last else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.layers(self.tokens(ids) + self.positions.weight[: ids.shape[1]])
        return self.norm(x) @ self.tokens.weight.T


def ids_of(part: str) -> np.ndarray:
    """The bytes of all works of a part, each work with a token after it."""
    works = [file.read_bytes() for file in sorted((DATA / part).iterdir())]
    return np.concatenate([[*work, END] for work in works]).astype(np.int64)


def train(model: Gpt, ids: np.ndarray, *, steps: int, seed: int) -> None:
    """Minimise the cross-entropy on rows from anywhere."""
    groups = [
        {"params": [each for each in model.parameters() if (each.dim() > 1) == matrices], "weight_decay": decay}
        for matrices, decay in ((True, 0.1), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99), fused=True)
    draw, began = np.random.default_rng(seed), time.monotonic()
    for step in range(steps):
        rows = draw.integers(len(ids) - LENGTH, size=SIZE)[:, None] + np.arange(LENGTH + 1)
        batch = torch.from_numpy(ids[rows])
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = RATE * factor(step, steps)
        optimizer.step()
        if step % 250 == 0:
            print(f"step {step}  loss {loss:.3f}  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def factor(step: int, steps: int) -> float:
    """Up in a line, down in half a cosine."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    share = (step + 1 - WARMUP) / (steps - WARMUP)
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * share)) / 2


@torch.no_grad()
def bits_per_byte(model: Gpt) -> float:
    """Of the test works, each read in windows that share one byte, of which the first byte is not predicted."""
    model.eval()
    nats = size = 0.0
    for file in sorted((DATA / "test").iterdir()):
        ids = torch.tensor(list(file.read_bytes()))
        windows = ids.unfold(0, LENGTH, LENGTH - 1)
        for rows in (*windows.split(64), ids[len(windows) * (LENGTH - 1) :][None]):
            nats += F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), reduction="sum").item()
        size += len(ids)
    return nats / math.log(2) / size


def main(seed: int = 0, steps: int = 1500) -> None:
    """Train, and print the held-out bits per byte."""
    torch.manual_seed(seed)
    model = Gpt()
    train(model, ids_of("train"), steps=steps, seed=seed)
    size = sum(each.numel() for each in model.parameters())
    print(json.dumps({"seed": seed, "parameters": size, "bits_per_byte": bits_per_byte(model)}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
