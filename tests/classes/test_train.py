"""Training by class: the original's loop as its page prints it, against a plain loop in PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from flexit.callbacks import Callback, CheckpointCallback, EarlyStoppingCallback
from flexit.errors import UserError
from flexit.loss import LabelSmoothing, LossCompute
from flexit.models import FlexiBERT, FlexiGPT, TransformerModel
from flexit.train import Batch, Trainer

SMALL = {"d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 1, "max_seq_len": 16, "dropout": 0.0}
SMALL |= {"attention_bias": False}  # Adam makes steps of the rounding errors that are a key bias's gradient
IDS = torch.ones(2, 3, dtype=torch.int64)
QUIET = {"progress": False, "device": "cpu"}


def translator(seed: int = 0) -> TransformerModel:
    torch.manual_seed(seed)
    return TransformerModel(src_vocab=20, tgt_vocab=20, **SMALL, pe_type="absolute")


def batches(count: int, *, seed: int = 0) -> list[Batch]:
    """Rows to be copied, the first one padded."""
    draw = torch.Generator().manual_seed(seed)
    found: list[Batch] = []
    for _ in range(count):
        src = torch.randint(3, 20, (4, 6), generator=draw)
        tgt = torch.cat([torch.ones(4, 1, dtype=torch.int64), src], 1)
        src[0, -2:] = 0
        tgt[0, -2:] = 0
        found.append(Batch(src, tgt))
    return found


def made(model: nn.Module, train: list[Batch], **fields: object) -> Trainer:
    adam = torch.optim.Adam(model.parameters(), lr=0.003, maximize=bool(fields.pop("worse", False)))
    loss = LossCompute(None if isinstance(model, FlexiBERT) else model.generator, nn.CrossEntropyLoss())
    return Trainer(
        model=model, optimizer=adam, loss_fn=loss, train_dataloader=train, **{"config": QUIET, **fields}
    )  # fmt: skip


def test_the_printed_loop_is_a_plain_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, train, held_out = translator(), batches(5), batches(2, seed=1)
    plain = copy.deepcopy(model)
    trainer = Trainer(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.001),
        loss_fn=LossCompute(model.generator, torch.nn.CrossEntropyLoss()),
        train_dataloader=train,
        val_dataloader=held_out,
        callbacks=[CheckpointCallback(), EarlyStoppingCallback()],
    )
    metrics = trainer.fit(epochs=3)

    optimizer = torch.optim.Adam(plain.parameters(), lr=0.001)
    expected: list[float] = []
    for _ in range(3):
        total = count = 0.0
        for batch in train:
            logits = plain(batch.src, batch.tgt, batch.src_mask, batch.tgt_mask)
            loss = nn.functional.cross_entropy(logits.transpose(1, 2), batch.tgt_y, ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            total, count = total + float(loss.detach()) * batch.ntokens, count + batch.ntokens
        expected.append(total / count)
    assert metrics.epochs == [1, 2, 3]
    assert metrics.train_losses == pytest.approx(expected, rel=1e-5)
    for (name, value), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(value, other, atol=2e-5), name
    with torch.no_grad():
        sums = [
            float(nn.functional.cross_entropy(
                plain.eval()(b.src, b.tgt, b.src_mask, b.tgt_mask).transpose(1, 2), b.tgt_y, ignore_index=0,
                reduction="sum",
            )) for b in held_out
        ]  # fmt: skip
    assert metrics.val_losses[-1] == pytest.approx(sum(sums) / sum(b.ntokens for b in held_out), rel=1e-4)
    assert trainer.evaluate() == pytest.approx(metrics.val_losses[-1], rel=1e-6)
    assert metrics.val_losses[-1] < metrics.val_losses[0]
    assert len(metrics.train_times) == len(metrics.learning_rates) == 3
    assert metrics.to_dict()["learning_rates"] == [0.001] * 3
    assert sorted(path.name for path in (tmp_path / "checkpoints" / "checkpoints").iterdir()) == [
        "step-000005", "step-000010", "step-000015",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["decoder", "classifier"])
def test_the_other_topologies_learn(kind):
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    rows = torch.randint(1, 20, (16, 7), generator=draw)
    if kind == "decoder":
        model = FlexiGPT(tgt_vocab=20, **SMALL)
        train = [Batch(tgt=rows[i : i + 8]) for i in (0, 8)]
    else:
        model = FlexiBERT(src_vocab=20, num_classes=2, **SMALL)
        train = [Batch(src=rows[i : i + 8], labels=(rows[i : i + 8, 0] > 9).long()) for i in (0, 8)]
    generator = model.generator if kind == "decoder" else None
    trainer = Trainer(
        model, torch.optim.Adam(model.parameters(), lr=0.01), LossCompute(generator, nn.CrossEntropyLoss()), train,
        config=QUIET,
    )  # fmt: skip
    losses = trainer.fit(epochs=15).train_losses
    assert losses[-1] < 0.6 * losses[0]
    assert trainer.metrics.val_losses == []


# ---- batches


def test_a_batch_says_what_the_model_reads():
    src, tgt = torch.tensor([[5, 6, 0], [7, 8, 9]]), torch.tensor([[1, 5, 2, 0], [1, 7, 8, 2]])
    batch = Batch(src, tgt)
    assert batch.src_mask.tolist() == [[[True, True, False]], [[True, True, True]]]
    assert batch.tgt.tolist() == [[1, 5, 2], [1, 7, 8]] and batch.tgt_y.tolist() == [[5, 2, 0], [7, 8, 2]]
    assert batch.tgt_mask[0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert batch.ntokens == 5
    assert list(batch) == ["input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask", "labels"]
    assert batch["labels"].tolist() == [[5, 2, -100], [7, 8, 2]]
    model = translator().eval()
    by_name = model(**{name: value for name, value in batch.items() if name != "labels"})["logits"]
    assert torch.equal(model(batch.src, batch.tgt, batch.src_mask, batch.tgt_mask), by_name)
    other = Batch(src, tgt, pad=2)
    assert other.ntokens == 4 and other["labels"].tolist() == [[5, -100, 0], [7, 8, -100]]
    moved = Batch(src, tgt).to("cpu")
    assert all(torch.equal(moved[name], batch[name]) for name in batch)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "found nothing"),
        ({"src": IDS, "model_type": "decoder-only"}, "the model is decoder-only"),
        ({"tgt": IDS, "labels": IDS[0]}, "found tgt and labels"),
        ({"tgt": IDS[:, :1]}, "tgt is too short"),
        ({"tgt": IDS, "padding": 0}, "FX0201 padding"),
        ({"tgt": [[1, 2]]}, "found a list of 1"),
        ({"tgt": IDS.float()}, "found a tensor of torch.float32"),
    ],
)
def test_batches_that_do_not_fit(fields, message):
    with pytest.raises(UserError, match=message):
        Batch(**fields)


# ---- losses


@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss(), nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss(reduction="none"),
        nn.CrossEntropyLoss(ignore_index=0), nn.CrossEntropyLoss(reduction="sum", ignore_index=7),
        LabelSmoothing(9, padding_idx=0), nn.functional.cross_entropy,
    ],
    ids=["mean", "sum", "none", "mean, ignoring", "sum, ignoring", "smoothed", "function"],
)  # fmt: skip
def test_a_loss_is_a_mean_over_the_labels_that_count(criterion):
    draw = torch.Generator().manual_seed(0)
    scores, hidden = torch.randn(2, 4, 9, generator=draw), torch.randn(2, 4, 5, generator=draw)
    labels = torch.tensor([[1, 2, -100, 3], [-100, 0, 7, 5]])
    left_out = getattr(criterion, "ignore_index", getattr(criterion, "padding_idx", -100))
    judged = labels.flatten().masked_fill(labels.flatten() == left_out, -100)
    expected = nn.functional.cross_entropy(scores.flatten(0, 1), judged)
    outputs = {"logits": scores, "last_hidden_state": hidden}
    assert float(LossCompute(None, criterion)(outputs, {"labels": labels})) == pytest.approx(float(expected), rel=1e-5)
    own = nn.Linear(5, 9)
    expected = nn.functional.cross_entropy(own(hidden).flatten(0, 1), judged)
    found = LossCompute(own, criterion)(outputs, {"labels": labels})
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_smoothed_targets_in_float64():
    draw = torch.Generator().manual_seed(0)
    scores, target = torch.randn(5, 7, generator=draw), torch.tensor([1, 6, 0, 3, 3])
    found = LabelSmoothing(7, padding_idx=0, smoothing=0.3)(scores, target)
    expected = 0.0
    for row, label in zip(scores.double().numpy(), target.tolist(), strict=True):
        if label == 0:
            continue
        logs = row - np.log(np.exp(row).sum())
        for token in range(1, 7):
            share = 0.7 if token == label else 0.3 / 5
            expected += share * (np.log(share) - logs[token])
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert torch.allclose(LabelSmoothing(7, 0, 0.3)(scores.log_softmax(-1), target), found)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LossCompute(nn.Linear, nn.CrossEntropyLoss()), "generator cannot be called"),
        (lambda: LossCompute(None, nn.CrossEntropyLoss), "write torch.nn.CrossEntropyLoss"),
        (lambda: LossCompute(None, None), "criterion cannot be called"),
        (lambda: LossCompute(None, nn.CrossEntropyLoss(), model=None), "FX0201 model"),
        (lambda: LossCompute(None, print)({"x": torch.ones(1)}, {"labels": torch.ones(1)}), "an output logits"),
        (lambda: LossCompute(None, print)({"logits": torch.ones(2, 3)}, {"labels": torch.ones(3)}), "one for each row"),
        (lambda: LabelSmoothing(2, 0), "at least 3"),
        (lambda: LabelSmoothing(9, 9), "from 0 to 8"),
        (lambda: LabelSmoothing(9, 0, 1.0), "a probability under 1"),
        (lambda: LabelSmoothing(9, 0, smooth=0.1), "write smoothing"),
    ],
)
def test_losses_that_cannot_be(make, message):
    with pytest.raises(UserError, match=message):
        make()


# ---- callbacks


class Diary(Callback):
    def __init__(self):
        self.lines: list[str] = []

    def on_train_begin(self, trainer):
        self.lines.append("run")

    def on_epoch_begin(self, epoch, trainer):
        self.lines.append(f"begin {epoch}")

    def on_epoch_end(self, epoch, trainer):
        assert len(trainer.metrics.train_losses) == len(trainer.metrics.val_losses) == epoch
        self.lines.append(f"end {epoch}")

    def on_train_end(self, trainer):
        self.lines.append("over")


def test_hooks_are_called_in_order():
    diary, model = Diary(), translator()
    trainer = made(model, batches(3), val_dataloader=batches(1, seed=1), callbacks=[diary])
    trainer.fit(epochs=2)
    assert diary.lines == ["run", "begin 1", "end 1", "begin 2", "end 2", "over"]
    trainer.fit(epochs=3)
    assert diary.lines[6:] == ["run", "begin 3", "end 3", "over"]
    assert trainer.metrics.epochs == [1, 2, 3] and trainer.result.step == 9


def test_updates_of_several_batches_end_with_the_epoch():
    trainer = made(translator(), batches(5), config={**QUIET, "accumulate": 2})
    assert trainer.fit(epochs=2).epochs == [1, 2]
    assert trainer.result.step == 6


def test_updates_that_are_left_out_do_not_count():
    model, data = translator().eval(), batches(3)
    own = LossCompute(model.generator, nn.CrossEntropyLoss())

    def poisoned(outputs, batch):
        return own(outputs, batch) * (float("nan") if torch.equal(batch["labels"], data[1]["labels"]) else 1.0)

    adam = torch.optim.Adam(model.parameters(), lr=0.0)
    trainer = Trainer(model, adam, poisoned, data, config={**QUIET, "non_finite": "skip"})
    found = trainer.fit(epochs=2)
    kept = Trainer(model, adam, own, [data[0], data[2]], config=QUIET).fit(epochs=2)
    assert found.train_losses == kept.train_losses
    nothing = Trainer(model, adam, poisoned, [data[1]], config={**QUIET, "non_finite": "skip"}).fit(epochs=1)
    assert np.isnan(nothing.train_losses).all()


def test_it_stops_early():
    stopping = EarlyStoppingCallback(patience=2, min_delta=100.0)
    trainer = made(translator(), batches(2), val_dataloader=batches(1, seed=1), callbacks=[stopping])
    assert trainer.fit(epochs=9).epochs == [1, 2, 3]
    assert stopping.waited == 2 and stopping.best == trainer.metrics.val_losses[0]
    trainer = made(translator(), batches(2), val_dataloader=batches(1, seed=1), callbacks=[EarlyStoppingCallback(2)])
    losses = trainer.fit(epochs=6).val_losses
    assert len(losses) == 6 and losses == sorted(losses, reverse=True)


def test_a_run_goes_on_from_its_folder(tmp_path):
    def begun(folder):
        callbacks = [CheckpointCallback(checkpoint_dir=tmp_path / folder), EarlyStoppingCallback(patience=3)]
        held_out = batches(1, seed=1)
        return made(translator(), batches(3), val_dataloader=held_out, callbacks=callbacks)

    whole = begun("whole")
    expected = whole.fit(epochs=4)
    begun("parts").fit(epochs=2)
    with pytest.raises(UserError, match="FX1302"):
        begun("parts").fit(epochs=4)
    other = begun("parts")
    assert other.resume() == []
    found = other.fit(epochs=4)
    assert (found.epochs, found.train_losses, found.val_losses) == (
        expected.epochs, expected.train_losses, expected.val_losses,
    )  # fmt: skip
    for one, two in zip(whole.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("save_best", [True, False])
def test_the_best_checkpoint_is_kept(tmp_path, save_best):
    kept = CheckpointCallback(save_best, keep_last=1, checkpoint_dir=tmp_path / "run")
    trainer = made(translator(), batches(2), val_dataloader=batches(1, seed=1), callbacks=[kept], worse=True)
    losses = trainer.fit(epochs=3).val_losses
    assert losses == sorted(losses)
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert names == ({"step-000002", "step-000006"} if save_best else {"step-000006"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"callbacks": [EarlyStoppingCallback()]}, "FX1505 val_dataloader"),
        ({"callbacks": [CheckpointCallback(), CheckpointCallback()]}, "one CheckpointCallback at most"),
        ({"callbacks": [CheckpointCallback()], "config": {"out": "x"}}, "left to the CheckpointCallback"),
        ({"config": {"evaluate": {"every": 3}}}, "FX1704 config.evaluate"),
        ({"callbacks": [EarlyStoppingCallback]}, "write EarlyStoppingCallback"),
        ({"config": {"acumulate": 2}}, "write accumulate"),
        ({"scheduler": None}, "FX0201 scheduler"),
    ],
)
def test_trainers_that_cannot_be(fields, message):
    with pytest.raises(UserError, match=message):
        made(translator(), batches(1), **fields)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStoppingCallback(0), "patience is out of range"),
        (lambda: EarlyStoppingCallback(min_delta=-1.0), "min_delta is out of range"),
        (lambda: EarlyStoppingCallback(patient=3), "write patience"),
        (lambda: CheckpointCallback(keep_last=0), "keep_last is out of range"),
        (lambda: CheckpointCallback(filename_format="a"), "FX0201 filename_format"),
        (lambda: made(translator(), iter(batches(1))), "FX1704 train_dataloader"),
        (lambda: made(translator(), None), "an iterable of batches"),
        (lambda: made(translator(), batches(1), config={**QUIET, "accumulate": 2}), "a loader of 2 or more batches"),
        (lambda: made(translator(), [(IDS, IDS)]).fit(epochs=1), "a mapping of names to tensors"),
        (
            lambda: made(FlexiBERT(src_vocab=20, **SMALL), [Batch(src=IDS, labels=IDS[:, 0])]).fit(epochs=1),
            "an output logits",
        ),
    ],
)
def test_callbacks_and_loaders_that_cannot_be(make, message):
    with pytest.raises(UserError, match=message):
        make()
