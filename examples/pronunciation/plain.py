"""The same training written by hand on ``torch.nn.Transformer``: ``python -m examples.pronunciation.plain [STEPS]``.

It learns from the same words in batches of the same size, by the same optimizer, schedule and loss, and is scored by
the same count. Nothing of flexit is in it.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from examples.pronunciation.words import LONGEST, by_length, ways, word_error

WIDTH, HEADS, LAYERS, HIDDEN, DROPOUT = 256, 4, 3, 1024, 0.1
SIZE, BUCKET, WARMUP, LAST = 128, 50, 1000, 0.02
END, UNKNOWN = 0, 1
"""Ids of the token that ends a text, begins a target and fills rows, and of what was not seen."""


class Speaker(nn.Module):
    """The encoder-decoder of Vaswani et al. 2017 with two tables; the scores are read from that of the targets."""

    def __init__(self, letters: int, phones: int) -> None:
        super().__init__()
        self.letters, self.phones = nn.Embedding(letters, WIDTH), nn.Embedding(phones, WIDTH)
        self.body = nn.Transformer(WIDTH, HEADS, LAYERS, LAYERS, HIDDEN, DROPOUT, batch_first=True)
        self.body.encoder.norm = self.body.decoder.norm = None  # after the last layer the paper has none
        self.dropout = nn.Dropout(DROPOUT)
        place = torch.arange(LONGEST + 1)[:, None] / 10000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
        self.register_buffer("places", torch.stack([place.sin(), place.cos()], -1).reshape(LONGEST + 1, WIDTH))
        for parameter in self.body.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for table in (self.letters, self.phones):
            nn.init.normal_(table.weight, std=WIDTH**-0.5)

    def read(self, table: nn.Embedding, ids: Tensor) -> Tensor:
        """Vectors of tokens with their places."""
        return self.dropout(table(ids) * math.sqrt(WIDTH) + self.places[: ids.shape[1]])

    def forward(self, source: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[batch, target, phones]``."""
        padding = torch.arange(source.shape[1]) >= lengths[:, None]
        later = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        found = self.body(
            self.read(self.letters, source), self.read(self.phones, target), tgt_mask=later, tgt_is_causal=True,
            src_key_padding_mask=padding, memory_key_padding_mask=padding,
        )  # fmt: skip
        return found @ self.phones.weight.T


def batches(rows: list[tuple[list[int], list[int]]], seed: int) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Rows without end, in batches of about one length."""
    random = Random(seed)
    while True:
        order = random.sample(rows, len(rows))
        for first in range(0, len(order), SIZE * BUCKET):
            near = sorted(order[first : first + SIZE * BUCKET], key=lambda row: max(map(len, row)))
            groups = [near[place : place + SIZE] for place in range(0, len(near), SIZE)]
            random.shuffle(groups)
            yield from (group for group in groups if len(group) == SIZE)


def padded(rows: list[list[int]], fill: int) -> Tensor:
    """Rows of one length."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=fill)


def train(model: Speaker, rows: list[tuple[list[int], list[int]]], steps: int) -> None:
    """Minimise the smoothed cross-entropy."""
    tables = {id(each) for each in model.parameters() if each.dim() > 1}
    groups = [
        {"params": [each for each in model.parameters() if id(each) in tables], "weight_decay": 0.01},
        {"params": [each for each in model.parameters() if id(each) not in tables], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), eps=1e-8, fused=True)
    began = time.monotonic()
    for step, batch in zip(range(steps), batches(rows, seed=0), strict=False):
        sources, targets = zip(*batch, strict=True)
        lengths = torch.tensor([len(row) for row in sources])
        given, wanted = padded([[END, *row[:-1]] for row in targets], END), padded(list(targets), -100)
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(padded(list(sources), END), given, lengths)
        loss = cross_entropy(scores.float().flatten(0, 1), wanted.flatten(), label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate(step, steps)
        optimizer.step()
        if step % 500 == 0:
            print(f"step {step}  loss {loss:.3f}  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def rate(step: int, steps: int) -> float:
    """Up in a line, down in half a cosine."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    share = (step + 1 - WARMUP) / (steps - WARMUP)
    return LAST + (1 - LAST) * (1 + math.cos(math.pi * share)) / 2


@torch.no_grad()
def say(model: Speaker, words: list[str], *, letters: dict[str, int], phones: list[str]) -> dict[str, str]:
    """What the model says of each word, greedily."""
    model.eval()
    said: dict[str, str] = {}
    for batch in by_length(words, 256):
        rows = [[*(letters.get(each, UNKNOWN) for each in word), END] for word in batch]
        target, lengths = torch.zeros(len(batch), 1, dtype=torch.long), torch.tensor([len(row) for row in rows])
        while target.shape[1] <= LONGEST and not (target[:, 1:] == END).any(1).all():
            chosen = model(padded(rows, END), target, lengths)[:, -1].argmax(-1)
            target = torch.cat([target, chosen[:, None]], 1)
        for word, row in zip(batch, target[:, 1:].tolist(), strict=True):
            end = row.index(END) if END in row else len(row)
            said[word] = " ".join(phones[each] for each in row[:end])
    return said


def main(steps: int = 9000) -> None:
    """Train, and print the word error on the test part."""
    torch.manual_seed(0)
    pairs = [(word, way.split()) for word, known in ways("train").items() for way in sorted(known)]
    letters = {each: 2 + row for row, each in enumerate(sorted({each for word, _ in pairs for each in word}))}
    phones = ["<end>", "<unk>", *sorted({each for _, way in pairs for each in way})]
    number = {name: row for row, name in enumerate(phones)}
    rows = [([*(letters[each] for each in word), END], [*(number[each] for each in way), END]) for word, way in pairs]
    model = Speaker(32, 42)
    train(model, rows, steps)
    known = ways("test")
    error = word_error(say(model, list(known), letters=letters, phones=phones), known)
    print(json.dumps({"parameters": sum(each.numel() for each in model.parameters()), "word_error": error}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
