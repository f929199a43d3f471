"""What a trainer cannot use is refused with its place and a cure, never with an error of Python's own."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flexit.errors import RunConfigError, UserError
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.config import TrainingConfig
from flexit.runtime.train.schedules.cosine import Cosine
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy
from tests.runtime.train.plain import Small, batches, mean_loss, trainer

QUIET = TrainingConfig(progress=False, device="cpu")


def refused(code: str, *texts: str, **given: Any) -> None:
    """Expect that a trainer, or its first step, refuses what it is given."""
    model = given.pop("model", None) or Small()
    parts: dict[str, Any] = {
        "model": model, "optimizer": torch.optim.SGD(Small().parameters()) if not isinstance(model, nn.Module)
        else torch.optim.SGD(model.parameters()), "loss_fn": mean_loss, "train_dataloader": batches(3), "config": QUIET,
    }  # fmt: skip
    with pytest.raises(UserError) as caught:
        Trainer(**(parts | given)).fit(steps=1)
    assert caught.value.code == code
    assert [text for text in texts if text not in str(caught.value)] == []


# ---- the optimizer


def test_an_optimizer_over_another_model():
    refused(
        "FX1704", "FX1704 optimizer", "expected parameters of the model alone",
        "found 6 of 6 that the model does not have",
        "parameter 0 of group 0, of shape [4, 3]", "and 3 more", "the parameters of this very model",
        optimizer=torch.optim.SGD(Small().parameters()),
    )  # fmt: skip


def test_one_parameter_of_another_model():
    model = Small()
    loose = nn.Parameter(torch.zeros(7))
    groups = [{"params": list(model.parameters())}, {"params": [loose]}]
    refused(
        "FX1704", "found 1 of 7 that the model does not have: parameter 0 of group 1, of shape [7]\n",
        model=model, optimizer=torch.optim.SGD(groups),
    )  # fmt: skip


def test_no_parameter_at_all():
    model = Small()
    for value in model.layers[0].parameters():
        value.requires_grad_(False)
    for optimizer in (torch.optim.SGD([{"params": []}]), torch.optim.SGD(model.layers[0].parameters())):
        refused("FX1704", "expected parameters that learn", model=model, optimizer=optimizer)


def test_some_of_the_parameters():
    model = Small()
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD(model.layers[3].parameters(), lr=0.5)
    Trainer(model, optimizer, mean_loss, batches(3), config=QUIET).fit(steps=2)
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"layers.3.weight", "layers.3.bias"}


# ---- the other arguments


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("model", "tiny-llama", "expected an nn.Module; found a str of 10"),
        ("model", Small, "found the class Small"),
        ("optimizer", torch.optim.SGD, "expected a torch.optim.Optimizer; found the class SGD"),
        ("loss_fn", CrossEntropy, "a function of outputs and batch; found the class CrossEntropy"),
        ("loss_fn", None, "found None"),
        ("train_dataloader", None, "expected an iterable of batches; found None"),
        ("train_dataloader", "corpus.txt", "found a str of 10"),
        ("callbacks", Callback(), "expected a list of Callback objects; found a Callback"),
        ("callbacks", [Callback], "do: write Callback()"),
        ("config", 3, "expected a TrainingConfig, or a mapping of its fields; found an int, 3"),
        ("config", [("seed", 1)], "found a list of 1"),
    ],
)
def test_arguments_of_other_types(name: str, value: object, said: str):
    refused("FX1704", f"FX1704 {name}", said, **{name: value})


def test_a_config_may_be_a_mapping():
    assert trainer(batches(3)).config == TrainingConfig(progress=False, device="cpu")
    model = Small()
    given = {"schedule": "cosine", "evaluate": {"every": 3}, "accumulate": 2}
    run = Trainer(model, torch.optim.SGD(model.parameters()), mean_loss, batches(3), batches(1), config=given)
    assert isinstance(run.config.schedule, Cosine)
    assert (run.config.accumulate, run.config.evaluate) == (2, TrainingConfig(evaluate={"every": 3}).evaluate)  # pyright: ignore[reportArgumentType]
    assert Trainer(model, torch.optim.SGD(model.parameters()), mean_loss, [], config={}).config == TrainingConfig()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"acumulate": 2}, ["FX0201 acumulate: unknown field", "do: write accumulate"]),
        ({"accumulate": 0}, ["FX0206 accumulate: out of range", "found 0"]),
        ({"schedule": "cosin", "seed": "x"}, ["FX0203 schedule", "do: write cosine", "FX0205 seed"]),
        ({"schedule": {"kind": "cosine", "final": 3.0}}, ["FX0206 schedule.final"]),
    ],
)
def test_fields_of_a_config(given: dict[str, Any], said: list[str]):
    with pytest.raises(RunConfigError) as whole:
        TrainingConfig(**given)
    assert [text for text in said if text not in str(whole.value)] == []
    refused(whole.value.code, str(whole.value), config=given)


# ---- batches


@pytest.mark.parametrize(
    ("batch", "texts"),
    [
        ((torch.ones(2, 3), torch.ones(2)), ["expected a mapping of names", "found a tuple of 2", "collate_fn"]),
        (torch.ones(2, 3), ["found a tensor of shape [2, 3]"]),
        (None, ["found None"]),
        ({}, ["found an empty mapping"]),
        ({0: torch.ones(2, 3)}, ["found a dict of 1"]),
        ({"x": [[1.0, 2.0, 3.0]]}, ["train_dataloader.x", "expected a tensor or an array", "found a list of 1"]),
        ({"x": torch.ones(2, 3), "name": "a"}, ["train_dataloader.name", "found a str of 1", "leave it out"]),
        ({"x": np.array(["a", "b"])}, ["found an array of <U1"]),
        ({"x": np.array([None, 1])}, ["found an array of object"]),
        ({"x": torch.tensor(1.0)}, ["expected entries with rows; found single numbers alone"]),
    ],
)  # fmt: skip
def test_batches_of_other_types(batch: object, texts: list[str]):
    refused("FX1704", "step 1: batch 1 of pass 1 cannot be used", *texts, train_dataloader=[batch])


def test_the_batch_that_is_wrong_is_named():
    with pytest.raises(UserError, match="step 2: batch 3 of pass 1 cannot be used"):
        trainer([*batches(2), (1, 2)], accumulate=2).fit(steps=2)


def test_a_held_out_batch_of_another_type():
    run = trainer(batches(3), held_out=[*batches(1), (1, 2)], evaluate={"every": 1})
    with pytest.raises(UserError, match=r"FX1704 val_dataloader: batch 2 of the evaluation after step 1 cannot"):
        run.fit(steps=1)
    assert run.model.training


def as_arrays(batch: dict[str, Tensor]) -> dict[str, Any]:
    return {name: value.numpy() for name, value in batch.items()}


def read_only(batch: dict[str, Tensor]) -> dict[str, Any]:
    arrays = as_arrays(batch)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def turned(batch: dict[str, Tensor]) -> dict[str, Any]:
    return {name: array[::-1].copy()[::-1] for name, array in as_arrays(batch).items()}


def swapped(batch: dict[str, Tensor]) -> dict[str, Any]:
    return {name: array.astype(array.dtype.newbyteorder()) for name, array in as_arrays(batch).items()}


@pytest.mark.parametrize("form", [as_arrays, read_only, turned, swapped, UserDict])
def test_arrays_are_tensors(form: Any):
    expected = trainer(batches(3)).fit(steps=3)
    assert trainer([form(batch) for batch in batches(3)]).fit(steps=3) == expected


def test_a_batch_without_labels_where_the_loss_reads_them():
    given = [{"x": torch.ones(2, 3)}]
    refused("FX1704", "FX1704 loss_fn: step 1", "has no labels", "found x\n", train_dataloader=given)


def test_an_error_of_the_loss_itself_is_left_alone():
    def wrong(outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        return outputs.mean() * batch["weight"]

    with pytest.raises(KeyError, match="weight"):
        trainer(batches(1), loss_fn=wrong).fit(steps=1)


def test_names_that_the_model_does_not_take():
    given = [batch | {"extra": torch.ones(2)} for batch in batches(1)]
    refused("FX1704", "does not fit the model", "entries that forward(x: ", "found x, extra", train_dataloader=given)


def test_a_type_error_of_the_model_itself_is_left_alone():
    class Broken(Small):
        def forward(self, x: Tensor) -> Tensor:
            return x + None  # pyright: ignore[reportOperatorIssue]

    model = Broken()
    run = Trainer(model, torch.optim.SGD(model.parameters()), mean_loss, batches(1), config=QUIET)
    with pytest.raises(TypeError, match="NoneType"):
        run.fit(steps=1)


# ---- losses


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda outputs: outputs.mean().item(), "found a float, "),
        (lambda outputs: None, "found None"),
        (lambda outputs: outputs.mean(0), "found a tensor of shape [5]"),
        (lambda outputs: (outputs.mean(), 1), "found a tuple of 2"),
        (lambda outputs: {}, "found an empty mapping"),
        (lambda outputs: {"a": outputs.mean(), "b": 0.5}, "found a float, 0.5, named b"),
        (lambda outputs: outputs.detach().mean(), "found one that depends on no parameter that learns"),
    ],
)
def test_losses_that_cannot_be_minimised(loss: Any, said: str):
    refused(
        "FX1704", "FX1704 loss_fn: the loss of step 1, up to batch 1 of pass 1, cannot be minimised", said,
        loss_fn=lambda outputs, batch: loss(outputs),
    )  # fmt: skip


def test_a_loss_of_one_element_is_a_scalar():
    plain = trainer(batches(3)).fit(steps=3)
    assert trainer(batches(3), loss_fn=lambda o, b: mean_loss(o, b)[None]).fit(steps=3) == plain


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.zeros(2, 4).long(), "expected labels of shape [2, 3], one per row of logits; found labels of [2, 4]"),
        (torch.zeros(2, 3), "expected labels of an integer type; found labels of torch.float32"),
        (torch.full((2, 3), 7), "expected token ids from 0 to 6, or -100; found ids from 7 to 7"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit(labels: Tensor, said: str):
    with pytest.raises(UserError) as caught:
        CrossEntropy()({"logits": torch.zeros(2, 3, 7)}, {"labels": labels})
    assert caught.value.code == "FX1704"
    assert said in str(caught.value)
