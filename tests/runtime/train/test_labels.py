"""Nothing to learn from, or to judge by, is an error with its place; never a loss of 0."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from flexit.errors import UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.config import Checkpoint, Evaluate
from flexit.runtime.train.saving.checkpoint import checkpoints, retire
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import IGNORED
from flexit.runtime.train.update.step import Step
from tests.runtime.train.plain import batches, trainer


def ignored(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return batch | {"labels": torch.full_like(batch["labels"], IGNORED)}


def test_an_update_without_labels_stops_before_the_weights():
    loader = batches(6)
    loader[2] = ignored(loader[2])
    run = trainer(loader)
    run.fit(steps=2)
    before = [value.clone() for value in run.model.parameters()]
    with pytest.raises(UserError, match=r"step 3, up to batch 3 of pass 1, has nothing to learn from") as caught:
        run.fit(steps=6)
    assert caught.value.code == "FX1605"
    assert "found none in 1 batch\n" in str(caught.value)
    assert run.step == 2
    assert all(torch.equal(one, two) for one, two in zip(before, run.model.parameters(), strict=True))


def test_one_batch_without_labels_among_others_adds_nothing():
    loader = batches(6)
    loader[2] = ignored(loader[2])
    steps: list[Step] = []

    class Keep(Callback):
        def after_step(self, trainer: Trainer, step: Step) -> None:
            steps.append(step)

    assert trainer(loader, Keep(), accumulate=2).fit(steps=3).tokens == 10
    assert [step.tokens for step in steps] == [4, 2, 4]
    assert all(step.loss > 0 for step in steps)


def test_a_batch_without_rows():
    empty = [{"x": torch.zeros(0, 3)}]
    with pytest.raises(UserError, match="has nothing to learn from") as caught:
        trainer(empty, loss_fn=lambda outputs, batch: outputs.mean()).fit(steps=1)
    assert caught.value.code == "FX1605"


@pytest.mark.parametrize("count", [0, 3])
def test_an_evaluation_without_labels_is_no_best(tmp_path: Path, count: int):
    run = trainer(
        batches(4), held_out=[ignored(batch) for batch in batches(count)], out=tmp_path,
        evaluate=Evaluate(every=2), checkpoint=Checkpoint(every=2, keep_best=1),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"FX1605 val_dataloader: the evaluation after step 2") as caught:
        run.fit(steps=4)
    assert f"found none in {count} batches" in str(caught.value)
    assert run.model.training
    assert checkpoints(tmp_path / "checkpoints") == []


def test_held_out_batches_that_come_only_once():
    once = iter(batches(2))
    run = trainer(batches(4), held_out=once, evaluate=Evaluate(every=1))  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=r"after step 2 has no label .*\n.*none in 0 batches\n.*gone through again"):
        run.fit(steps=2)


def test_no_limit_of_batches_leaves_nothing():
    with pytest.raises(UserError, match="FX1605"):
        trainer(batches(4), held_out=batches(2), evaluate=Evaluate(every=1)).evaluate(max_batches=0)


def test_a_loss_that_is_no_number_is_not_the_best(tmp_path: Path):
    for step, loss in enumerate(["NaN", "2.0", "-Infinity", "1.0", "3.0"], 1):
        (tmp_path / f"step-{step:06d}" / "training").mkdir(parents=True)
        (tmp_path / f"step-{step:06d}" / "training" / "state.json").write_text(
            f'{{"flexit": 1, "validation_loss": {loss}}}'
        )
    newest = tmp_path / "step-000005"
    retire(tmp_path, keep_last=1, keep_best=2, newest=newest)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000002", "step-000004", "step-000005"]


def test_terms_of_any_name_are_judged(capsys: pytest.CaptureFixture[str]):
    def two(outputs: torch.Tensor, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"entropy": torch.nn.functional.cross_entropy(outputs, batch["labels"]), "size": outputs.square().mean()}

    run = trainer(batches(4), held_out=batches(2), loss_fn=two, evaluate=Evaluate(every=1), progress=True)
    result = run.fit(steps=1)
    assert f"validation loss {result.validation_loss:.3f}" in capsys.readouterr().err
    metrics = run.evaluate()
    assert metrics.keys() == {"validation_entropy", "validation_size"}
    assert sum(metrics.values()) == pytest.approx(result.validation_loss)
