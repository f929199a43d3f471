"""One update: accumulation by tokens, clipping, the stop before numbers that are not finite."""

from __future__ import annotations

import math

import pytest
import torch

from flexit.errors import UserError
from flexit.ir.io.load import load_spec
from flexit.ir.spec import Spec
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.train.update.loss import IGNORED, CrossEntropy
from flexit.runtime.train.update.step import Clip, accumulate, update

ROWS, LENGTH = 32, 24


def ragged(vocab: int = 300) -> dict[str, torch.Tensor]:
    """Rows of very different lengths, padded on the right."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab, (ROWS, LENGTH), generator=draw)
    lengths = torch.randint(2, LENGTH + 1, (ROWS,), generator=draw)
    mask = (torch.arange(LENGTH)[None] < lengths[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.where(mask == 1, ids.roll(-1, 1), IGNORED)}


def split(batch: dict[str, torch.Tensor], size: int) -> list[dict[str, torch.Tensor]]:
    return [{name: value[i : i + size] for name, value in batch.items()} for i in range(0, ROWS, size)]


def gradients(model: FlexitModule, size: int) -> tuple[dict[str, torch.Tensor], float, int]:
    model.zero_grad()
    means, tokens = accumulate(model, CrossEntropy(), split(ragged(), size))
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, means["loss"], tokens


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
@pytest.mark.parametrize("size", [1, 8])
def test_small_batches_give_the_gradient_of_the_big_one(size: int, dtype: torch.dtype, tolerance: float):
    model = to_torch(load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300"]), dtype=dtype)
    whole, loss, tokens = gradients(model, ROWS)
    parts, same_loss, same_tokens = gradients(model, size)
    assert tokens == same_tokens == int(ragged()["attention_mask"].sum())
    assert loss == pytest.approx(same_loss, rel=1e-6)
    assert whole.keys() == parts.keys() == dict(model.named_parameters()).keys()
    for name, gradient in whole.items():
        assert float((gradient - parts[name]).abs().max() / gradient.abs().max()) < tolerance, name


def test_the_mean_of_means_would_be_another_gradient():
    """What many trainers do instead: it is wrong by far more than rounding on the same data."""
    model = to_torch(load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300"]))
    whole, _, _ = gradients(model, ROWS)
    model.zero_grad()
    for batch in split(ragged(), 1):
        (
            CrossEntropy()(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]), batch)["loss"]
            / ROWS
        ).backward()
    wrong = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert max(float((whole[n] - wrong[n]).abs().max() / whole[n].abs().max()) for n in whole) > 1e-2


def test_a_batch_without_labels_adds_nothing():
    model = to_torch(load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300"]))
    batch = ragged()
    empty = batch | {"labels": torch.full_like(batch["labels"], IGNORED)}
    accumulate(model, CrossEntropy(), [batch])
    alone = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    _, tokens = accumulate(model, CrossEntropy(), [batch, empty])
    assert tokens == int(batch["attention_mask"].sum())
    assert all(torch.equal(one, p.grad) for one, p in zip(alone, model.parameters(), strict=True) if p.grad is not None)


def test_a_bare_scalar_is_a_loss():
    model = torch.nn.Linear(3, 1)
    batches = [{"input": torch.randn(2, 3)}, {"input": torch.randn(4, 3)}]
    means, rows = accumulate(model, lambda outputs, batch: outputs.square().mean(), batches)
    whole = model(torch.cat([batch["input"] for batch in batches])).square().mean()
    assert rows == 6
    assert means["loss"] == pytest.approx(float(whole.detach()))


def prepared(spec: Spec) -> tuple[FlexitModule, torch.optim.Optimizer, dict[str, float]]:
    model = to_torch(spec)
    losses, _ = accumulate(model, CrossEntropy(), [ragged()])
    return model, torch.optim.SGD(model.parameters(), lr=1.0), losses


def test_gradients_are_clipped_to_the_norm(spec: Spec):
    model, optimizer, losses = prepared(spec)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    norm = update(model, optimizer, losses=losses, clip=Clip(0.01), number=1)
    moved = math.sqrt(sum(float((p.detach() - before[name]).square().sum()) for name, p in model.named_parameters()))
    assert norm > 0.1
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_without_clipping_the_norm_is_that_of_the_step(spec: Spec):
    model, optimizer, losses = prepared(spec)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    norm = update(model, optimizer, losses=losses, clip=Clip(), number=1)
    moved = math.sqrt(sum(float((p.detach() - before[name]).square().sum()) for name, p in model.named_parameters()))
    assert moved == pytest.approx(norm, rel=1e-4)


def test_a_bad_gradient_stops_before_the_weights(spec: Spec):
    model, optimizer, losses = prepared(spec)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    bad = dict(model.named_parameters())["decoder.layers.1.feed_forward.up_proj.weight"]
    assert bad.grad is not None
    bad.grad[3, 4] = math.inf
    with pytest.raises(UserError, match=r"step 7 .*not finite") as caught:
        update(model, optimizer, losses=losses, clip=Clip(1.0), number=7)
    assert caught.value.code == "FX1701"
    assert "first bad: the gradient of decoder.layers.1.feed_forward.up_proj.weight" in str(caught.value)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_a_bad_weight_is_named(spec: Spec):
    model, _, _ = prepared(spec)
    with torch.no_grad():
        dict(model.named_parameters())["decoder.layers.2.attention.q_proj.weight"][0, 0] = math.nan
    losses, _ = accumulate(model, CrossEntropy(), [ragged()])
    with pytest.raises(
        UserError, match=r"loss = nan; first bad: the values of decoder\.layers\.2\.attention\.q_proj\.weight"
    ):
        update(model, torch.optim.SGD(model.parameters(), lr=1.0), losses=losses, clip=Clip(1.0), number=1)
