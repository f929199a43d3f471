"""Training by class: what would train something else than its words say is refused."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data._utils.pin_memory import pin_memory

import flexit
from flexit.callbacks import Callback, CheckpointCallback, EarlyStoppingCallback
from flexit.errors import CheckpointError, UserError
from flexit.loss import LabelSmoothing, LossCompute
from flexit.models import FlexiGPT
from flexit.train import Batch, Trainer, TrainerMetrics

SMALL = {"d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 1, "dropout": 0.0}
IDS = torch.ones(2, 3, dtype=torch.int64)
QUIET = {"progress": False, "device": "cpu"}
NAN, INFINITE = float("nan"), float("inf")


def decoder() -> FlexiGPT:
    torch.manual_seed(0)
    return FlexiGPT(tgt_vocab=20, **SMALL)


def batches(count: int) -> list[Batch]:
    draw = torch.Generator().manual_seed(0)
    return [Batch(tgt=torch.randint(3, 20, (2, 5), generator=draw)) for _ in range(count)]


def parts(model: nn.Module, train: list[Batch]) -> tuple:
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, adam, LossCompute(model.generator, nn.CrossEntropyLoss()), train


# ---- callbacks


@pytest.mark.parametrize("callback", [Callback(), EarlyStoppingCallback(), CheckpointCallback()])
def test_callbacks_of_epochs_are_refused_by_a_trainer_of_steps(callback):
    trainer = flexit.Trainer(*parts(decoder(), batches(2)), callbacks=[callback], config=QUIET)
    name = type(callback).__name__
    with pytest.raises(UserError, match=f"FX1704 callbacks: .*\n.*found {name}\n.*use flexit.train.Trainer"):
        trainer.fit(steps=1)
    assert trainer.step == 0


def test_a_callback_of_another_trainer_is_refused_too():
    callback = Callback()
    Trainer(*parts(decoder(), batches(2)), callbacks=[callback], config=QUIET).fit(epochs=1)
    with pytest.raises(UserError, match="FX1704 callbacks"):
        flexit.Trainer(*parts(decoder(), batches(2)), callbacks=[callback], config=QUIET).fit(epochs=1)


def test_a_held_out_loss_that_is_no_number_is_not_the_best():
    class Losses:
        metrics = TrainerMetrics()
        stopped = False

        def stop(self) -> None:
            self.stopped = True

    trainer, stopping = Losses(), EarlyStoppingCallback(patience=2)
    seen = []
    for loss in (NAN, 3.0, NAN, 2.0, NAN, 2.5):
        trainer.metrics.val_losses.append(loss)
        stopping.on_epoch_end(1, trainer)
        seen.append((stopping.best, stopping.waited, trainer.stopped))
    assert seen == [
        (None, 1, False),
        (3.0, 0, False),
        (3.0, 1, False),
        (2.0, 0, False),
        (2.0, 1, False),
        (2.0, 2, True),
    ]


@pytest.mark.parametrize(
    ("make", "place"),
    [
        *[(partial(EarlyStoppingCallback, value), "patience") for value in (NAN, True, 2.5, "3", None, 0)],
        *[(partial(EarlyStoppingCallback, min_delta=value), "min_delta") for value in (NAN, INFINITE, True, "0", -1)],
        *[(partial(CheckpointCallback, keep_last=value), "keep_last") for value in (1.5, True, "1", 0)],
        *[(partial(CheckpointCallback, checkpoint_dir=value), "checkpoint_dir") for value in (5, None, b"x")],
        *[(partial(CheckpointCallback, value), "save_best") for value in (1, "yes")],
        *[(partial(LabelSmoothing, value, 0), "size") for value in ("a", 5.5, None, True, 2)],
        *[(partial(LabelSmoothing, 9, value), "padding_idx") for value in ("a", 0.0, None, True, -1, 9)],
        *[(partial(LabelSmoothing, 9, 0, value), "smoothing") for value in ("a", NAN, None, True, -0.1, 1)],
    ],
)
def test_arguments_are_of_their_kind(make, place):
    with pytest.raises(UserError, match=f"FX2001 {place}: {place} (is out of range|cannot be used)") as caught:
        make()
    assert repr((*make.args, *make.keywords.values())[-1 if place != "size" else 0]) in str(caught.value)


def test_usual_arguments_are_taken():
    assert CheckpointCallback(checkpoint_dir=Path("a")).checkpoint_dir == CheckpointCallback(
        checkpoint_dir="a"
    ).checkpoint_dir  # fmt: skip
    assert LabelSmoothing(9, 8, 0).smoothing == 0 and EarlyStoppingCallback(min_delta=1).min_delta == 1


# ---- epochs of another length


def saved(folder: Path, train: list[Batch], **config: object) -> Trainer:
    callbacks = [CheckpointCallback(checkpoint_dir=folder)]
    return Trainer(*parts(decoder(), train), callbacks=callbacks, config={**QUIET, **config})


@pytest.mark.parametrize(("count", "config"), [(3, {}), (2, {"accumulate": 2})])
def test_epochs_of_other_batches_are_no_continuation(tmp_path, count, config):
    saved(tmp_path / "run", batches(2)).fit(epochs=1)
    other = saved(tmp_path / "run", batches(count), **config)
    before = copy.deepcopy(other.model.state_dict())
    for allowed in (False, True):
        with pytest.raises(CheckpointError, match=r"FX1202 train_dataloader: .*\n  expected 2 batches, 1 for each"):
            other.resume(allow_changed=allowed)
    assert all(torch.equal(value, before[name]) for name, value in other.model.state_dict().items())
    assert other.trainer.step == 0 and other.metrics.epochs == []


def test_other_changes_can_be_allowed(tmp_path):
    saved(tmp_path / "run", batches(2)).fit(epochs=1)
    other = saved(tmp_path / "run", batches(2), clip_norm=0.5)
    with pytest.raises(CheckpointError, match=r"FX1202 config\.clip_norm"):
        other.resume()
    assert other.resume(allow_changed=True) == []
    assert other.fit(epochs=2).epochs == [1, 2] and other.trainer.step == 4


# ---- losses


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("wrapped", [F.cross_entropy, partial(F.cross_entropy, ignore_index=-100)])
def test_keywords_of_a_partial_are_read(reduction, wrapped):
    scores = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1, 2, -100, 3], [-100, -100, 8, 5]])
    found = LossCompute(None, partial(wrapped, reduction=reduction))({"logits": scores}, {"labels": labels})
    assert float(found) == pytest.approx(float(F.cross_entropy(scores.flatten(0, 1), labels.flatten())), rel=1e-6)


def test_a_partial_says_which_label_it_leaves_out():
    scores = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(0))
    found = LossCompute(None, partial(F.cross_entropy, ignore_index=0))(
        {"logits": scores}, {"labels": torch.tensor([[1, -100, -100, 3]])}
    )
    expected = F.cross_entropy(scores[0, [0, 3]], torch.tensor([1, 3]))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("size", [8, 10])
def test_smoothing_is_over_the_vocabulary_of_the_scores(size):
    with pytest.raises(UserError, match=f"FX2001 size: .*\n  expected scores .n, {size}.; found .4, 9."):
        LabelSmoothing(size, 0, 0.1)(torch.zeros(4, 9), torch.tensor([1, 2, 3, 4]))


def test_the_generator_of_another_model_is_refused():
    model, optimizer, loss, train = parts(decoder(), batches(1))
    other = LossCompute(decoder().generator, nn.CrossEntropyLoss())
    with pytest.raises(UserError, match=r"FX1704 loss_fn\.generator: the loss is of another model"):
        Trainer(model, optimizer, other, train, config=QUIET)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, **inputs):
            return self.inner(**inputs)

    assert Trainer(Wrapped(), optimizer, loss, train, config=QUIET).fit(epochs=1).epochs == [1]


# ---- batches


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"src": IDS[0], "labels": IDS[0]}, r"src does not fit\n  expected \[batch, seq\]; found \[3\]"),
        ({"src": IDS[None]}, r"src does not fit"),
        ({"tgt": IDS[0]}, "tgt is too short"),
        ({"src": IDS[:1], "tgt": IDS}, r"as many rows of src and tgt; found \[1, 3\] and \[2, 3\]"),
        ({"src": IDS, "labels": IDS[0]}, r"as many rows of src and labels; found \[2, 3\] and \[3\]"),
        ({"src": IDS, "labels": IDS[0, 0]}, r"as many rows of src and labels; found \[2, 3\] and \[\]"),
    ],
)
def test_batches_are_rows(fields, message):
    with pytest.raises(UserError, match=message):
        Batch(**fields)
    assert list(Batch(src=IDS, labels=IDS)) == ["input_ids", "attention_mask", "labels"]


def test_a_batch_is_pinned_as_a_batch(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda value: value + 100 if value.dtype != torch.bool else value)
    found = pin_memory(Batch(IDS, IDS))
    assert isinstance(found, Batch) and list(found) == list(Batch(IDS, IDS))
    assert found["input_ids"].tolist() == found.src.tolist() == (IDS + 100).tolist()
    assert found["labels"].tolist() == found.tgt_y.tolist() == (IDS[:, 1:] + 100).tolist()
