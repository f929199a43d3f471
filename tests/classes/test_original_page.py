"""The snippets of the original documentation on real text: all topologies and positions learn and are exported."""

from __future__ import annotations

from pydoc_data.topics import topics
from typing import get_args

import pytest
import torch
from torch.utils.data import DataLoader

import flexit
from flexit.callbacks import CheckpointCallback, EarlyStoppingCallback
from flexit.configs import ModelConfig, PeType
from flexit.inference import greedy_decode
from flexit.loss import LossCompute
from flexit.models import FlexiBERT, FlexiGPT, TransformerFactory, TransformerModel
from flexit.train import Batch, Trainer

SMALL = {"d_model": 32, "n_heads": 2, "n_layers": 1, "d_ff": 48, "max_seq_len": 24, "dropout": 0.0}
VOCAB, LENGTH, PAD, BEGIN = 400, 20, 0, 1
KINDS = ("encoder-decoder", "encoder-only", "decoder-only")


@pytest.fixture(scope="module")
def lines() -> list[list[int]]:
    """Lines of Python's own manual as ids; 0 is padding and 1 begins a text."""
    texts = [line.strip() for name in sorted(topics) for line in topics[name].splitlines()]
    texts = [line for line in texts if len(line.split()) > 3][:480]
    tokenizer = flexit.Tokenizer.train(texts, vocab_size=VOCAB, separator="<pad>", specials=["<begin>"])
    return [tokenizer.encode(line)[: LENGTH - 1] for line in texts]


def rows_of(ids: list[list[int]]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True, padding_value=PAD)


def loaders(kind: str, lines: list[list[int]]) -> tuple[DataLoader, DataLoader]:
    """A line from the one before it, which of two letters begins more of its words, or a line alone."""

    def collate(group: list[int]) -> Batch:
        given, next_ones = ([lines[number + step] for number in group] for step in (0, 1))
        if kind == "encoder-only":
            return Batch(rows_of(given), labels=torch.tensor([int(len(row) > 14) for row in given]), pad=PAD)
        tgt = rows_of([[BEGIN, *row] for row in next_ones])
        return Batch(tgt=tgt, pad=PAD) if kind == "decoder-only" else Batch(rows_of(given), tgt, pad=PAD)

    numbers = list(range(len(lines) - 1))
    shuffled = torch.Generator().manual_seed(0)
    return (
        DataLoader(numbers[:400], batch_size=16, shuffle=True, collate_fn=collate, generator=shuffled),
        DataLoader(numbers[400:], batch_size=16, collate_fn=collate),
    )


def model_of(kind: str, pe_type: str):
    torch.manual_seed(0)
    if kind == "encoder-decoder":
        model = TransformerModel(
            src_vocab=VOCAB, tgt_vocab=VOCAB, pe_type=pe_type, init_method="xavier_uniform", pre_norm=True, **SMALL
        )
    elif kind == "encoder-only":
        model = FlexiBERT(src_vocab=VOCAB, num_classes=2, pe_type=pe_type, **SMALL)
    else:
        model = FlexiGPT(tgt_vocab=VOCAB, pe_type=pe_type, **SMALL)
    return model


PAIRS = [(kind, pe_type) for kind in KINDS for pe_type in get_args(PeType)]
GRID = [pytest.param(*pair, id="-".join(pair), marks=pytest.mark.slow if row else ()) for row, pair in enumerate(PAIRS)]


def test_the_grid_is_whole():
    assert len(GRID) == 3 * 8


@pytest.mark.parametrize(("kind", "pe_type"), GRID)
def test_the_training_loop(kind, pe_type, lines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = model_of(kind, pe_type)
    train_loader, val_loader = loaders(kind, lines)
    trainer = Trainer(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.003),
        loss_fn=LossCompute(None if kind == "encoder-only" else model.generator, torch.nn.CrossEntropyLoss()),
        train_dataloader=train_loader,
        val_dataloader=val_loader,
        callbacks=[CheckpointCallback(), EarlyStoppingCallback()],
        config={"progress": False, "device": "cpu"},
    )
    metrics = trainer.fit(epochs=3)

    assert metrics.to_dict().keys() == {"epochs", "train_losses", "val_losses", "train_times", "learning_rates"}
    assert metrics.epochs == [1, 2, 3]
    fall = 0.1 if kind == "encoder-only" else 0.5
    assert metrics.train_losses[-1] < metrics.train_losses[0] - fall
    assert metrics.val_losses[-1] < metrics.val_losses[0]
    bundle = flexit.export(trainer.result.checkpoint, tmp_path / "bundle")
    assert {row["run"] for row in bundle.manifest["evidence"]["rows"]} >= {"whole"}
    assert max(row["error"] for row in bundle.manifest["evidence"]["rows"]) < 1e-4
    if kind != "encoder-only":
        src = rows_of(lines[400:402])
        found = greedy_decode(model, src if kind == "encoder-decoder" else None, None, 8, BEGIN)
        assert found.shape == ((2 if kind == "encoder-decoder" else 1), 8)


def test_a_config_makes_a_model():
    config = ModelConfig(d_model=768, n_heads=12, pe_type="relative", ff_activation="gelu", tgt_vocab=100, n_layers=1)
    assert isinstance(TransformerFactory(config).create(), FlexiGPT)
