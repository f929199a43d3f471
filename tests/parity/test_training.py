"""Training follows the Hugging Face model in a plain loop, gradient by gradient, for fifty steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
import transformers
from torch import Tensor

import flexit
from flexit.runtime.train.callbacks.callback import Callback
from flexit.runtime.train.update.loss import IGNORED, CrossEntropy
from tests.parity.test_decoders import perturbed

STEPS, ROWS, LENGTH, VOCAB, RATE, WARMUP = 50, 4, 12, 61, 3e-3, 10
LOOKED_AT = {*range(5), *range(9, STEPS, 10)}
"""Steps whose gradients are compared; the losses are those of all."""


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=32, n_embd=24, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
        attn_implementation="eager",
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def t5():
    config = transformers.T5Config(
        vocab_size=VOCAB, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3, dropout_rate=0,
        decoder_start_token_id=0, pad_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def batches(*, pair: bool) -> list[dict[str, Tensor]]:
    """Rows of random tokens with labels left out here and there; of pairs also padded sources."""
    draw = torch.Generator().manual_seed(5)
    found: list[dict[str, Tensor]] = []
    for _ in range(STEPS):
        ids = torch.randint(2, VOCAB, (ROWS, LENGTH + 1), generator=draw)
        labels = ids[:, 1:].clone()
        labels[torch.rand(labels.shape, generator=draw) < 0.2] = IGNORED
        batch = {"decoder_input_ids" if pair else "input_ids": ids[:, :-1], "labels": labels}
        if pair:
            sources = torch.randint(2, VOCAB, (ROWS, 9), generator=draw)
            mask = (torch.arange(9) < torch.randint(4, 10, (ROWS, 1), generator=draw)).long()
            batch |= {"input_ids": sources * mask, "attention_mask": mask}
        found.append(batch)
    return found


def plain_loop(model, data: list[dict[str, Tensor]]) -> tuple[list[float], list[Mapping[str, Tensor]]]:
    """Losses and clipped gradients of each step, the latter under the names that the parameters have here."""
    decays = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
    factor = transformers.get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS).lr_lambdas[0]
    rates = [RATE * factor(step) for step in range(1, STEPS + 1)]
    losses: list[float] = []
    gradients: list[Mapping[str, Tensor]] = []
    for batch in data:
        logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        losses.append(loss.item())
        gradients.append(as_here(model) if len(gradients) in LOOKED_AT else {})
        for group in optimizer.param_groups:
            group["lr"] = rates[len(losses) - 1]
        optimizer.step()
    return losses, gradients


def as_here(model) -> Mapping[str, Tensor]:
    """The gradients of a Hugging Face model as the import lays weights out, which is linear."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, other in zip(twin.parameters(), model.parameters(), strict=True):
            assert other.grad is not None
            parameter.copy_(other.grad)
    return {name: tensor.torch() for name, tensor in flexit.from_pretrained(twin).weights.items()}


class Kept(Callback):
    """The loss and the gradients of each step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.gradients: list[dict[str, Tensor]] = []

    def after_step(self, trainer, step) -> None:
        self.losses.append(step.loss)
        named = trainer.model.named_parameters()
        self.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})


@pytest.mark.slow
@pytest.mark.parametrize(("make", "pair", "near"), [(gpt2, False, 1e-6), (t5, True, 1e-4)], ids=["gpt2", "t5"])
def test_fifty_steps(make, pair, near):
    """In float64; but the norms of their T5 take variances in float32."""
    theirs = perturbed(make()).double().train()
    source = flexit.from_pretrained(theirs)
    ours = flexit.to_torch(source.spec, source.weights, dtype=torch.float64)
    data, kept = batches(pair=pair), Kept()
    losses, gradients = plain_loop(theirs, data)
    decays = [p for p in ours.parameters() if p.dim() > 1]
    others = [p for p in ours.parameters() if p.dim() <= 1]
    groups = [{"params": decays, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    flexit.Trainer(
        ours, torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95)), CrossEntropy(), data, callbacks=[kept],
        config={
            "schedule": {"kind": "cosine", "warmup": WARMUP, "final": 0.0}, "clip_norm": 1.0, "device": "cpu",
            "progress": False,
        },
    ).fit(steps=STEPS)  # fmt: skip
    assert losses[-1] < losses[0]
    assert kept.losses == pytest.approx(losses, rel=near / 10)
    for step in sorted(LOOKED_AT):
        mine, wanted = kept.gradients[step], gradients[step]
        assert mine.keys() == wanted.keys()
        for name, gradient in mine.items():
            scale = wanted[name].abs().max()
            if name.endswith("k_proj.bias"):  # which softmax cannot see
                assert max(gradient.abs().max(), scale) < 1e-12
                continue
            assert scale > 1e-9
            assert (gradient - wanted[name]).abs().max() / scale < near, f"step {step + 1}: {name}"
