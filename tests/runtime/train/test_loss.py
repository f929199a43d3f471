"""Losses against plain definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.update.loss import IGNORED, CrossEntropy, balance, labelled, router_masks, z_loss
from flexit.runtime.train.update.step import accumulate


def brute_balance(logits: np.ndarray) -> float:
    """Fedus et al. 2021, equations 4 to 6, token by token."""
    n_experts = logits.shape[-1]
    share, mean = [0.0] * n_experts, [0.0] * n_experts
    tokens = logits.reshape(-1, n_experts)
    for token in tokens:
        p = np.exp(token - token.max()) / np.exp(token - token.max()).sum()
        share[int(p.argmax())] += 1 / len(tokens)
        for expert in range(n_experts):
            mean[expert] += p[expert] / len(tokens)
    return n_experts * sum(f * p for f, p in zip(share, mean, strict=True))


def test_balance_is_that_of_the_paper():
    logits = torch.randn(3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).float()
    assert float(balance(logits)) == pytest.approx(brute_balance(logits.double().numpy()), rel=1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 5])
@pytest.mark.parametrize("padded", [False, True])
def test_balance_is_that_of_hugging_face(top_k, padded):
    logits = 2.0 * torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1))
    mask = (torch.rand(3, 7, generator=torch.Generator().manual_seed(2)) < 0.6).long() if padded else None
    theirs = load_balancing_loss_func((logits.flatten(0, 1),), num_experts=5, top_k=top_k, attention_mask=mask)
    assert float(balance(logits, mask, top_k=top_k)) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("padded", [False, True])
def test_z_loss_is_that_of_the_paper(padded):
    logits = 3.0 * torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(1))
    mask = (torch.rand(3, 7, generator=torch.Generator().manual_seed(2)) < 0.6).long() if padded else None
    tokens = logits.double().numpy().reshape(-1, 5)
    kept = [token for token, there in zip(tokens, [1] * 21 if mask is None else mask.flatten(), strict=True) if there]
    expected = sum(np.log(np.exp(token).sum()) ** 2 for token in kept) / len(kept)
    assert float(z_loss(logits, mask)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("term", [balance, z_loss])
def test_terms_of_routers_are_one_graph(term):
    """Also with padding, however much there is."""
    torch._dynamo.reset()
    compiled = torch.compile(term, fullgraph=True, backend="eager")
    logits = torch.randn(3, 5, 4)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for shown in (5, 3, 1):
            mask = (torch.arange(5) < shown).long().expand(3, 5).contiguous()
            wanted = term(logits[:, :shown])
            assert float(compiled(logits, mask)) == pytest.approx(float(wanted), rel=1e-5)


def test_balance_between_its_bounds():
    one_for_all = torch.zeros(2, 8, 4)
    one_for_all[..., 2] = 50.0
    assert float(balance(one_for_all)) == pytest.approx(4.0)
    turns = 50.0 * torch.eye(4).repeat(4, 1).view(2, 8, 4)
    assert float(balance(turns)) == pytest.approx(1.0)


def test_balance_ignores_padding():
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    assert float(balance(logits, mask)) == pytest.approx(float(balance(logits[mask.bool()][None])), rel=1e-6)


def test_cross_entropy_skips_ignored_labels():
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([[0, IGNORED, 2], [IGNORED, 4, 1]])
    scores = logits.numpy()
    rows = [(0, 0), (0, 2), (1, 1), (1, 2)]
    expected = np.mean([np.log(np.exp(scores[r, c]).sum()) - scores[r, c, int(labels[r, c])] for r, c in rows])
    assert float(CrossEntropy()({"logits": logits}, {"labels": labels})["loss"]) == pytest.approx(
        float(expected), rel=1e-5
    )
    assert labelled({"labels": labels}) == 4


def test_router_logits_of_a_real_model_are_balanced_over_its_layers():
    model = to_torch(load_spec("tiny-moe"))
    ids = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(4))
    batch = {"input_ids": ids, "labels": ids}
    means, _ = accumulate(model, CrossEntropy(router_balance=0.5), [batch])
    sides = [each for some in model(ids, aux=True)["aux"].values() for each in some]
    assert len(sides) > 1
    balances = torch.stack([balance(each) for each in sides]).detach()
    assert means["router_balance"] == pytest.approx(0.5 * float(balances.mean()))
    router = next(p for name, p in model.named_parameters() if "router" in name)
    assert router.grad is not None
    assert float(router.grad.abs().max()) > 0


def test_each_side_term_has_its_weight_and_is_there_only_with_one():
    model = to_torch(load_spec("tiny-moe"))
    ids = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        outputs, batch = model(ids, aux=True), {"labels": ids}
    sides = [each for some in outputs["aux"].values() for each in some]
    found = CrossEntropy(router_z=0.25)(outputs, batch)
    assert set(found) == {"loss", "router_z"}
    assert float(found["router_z"]) == pytest.approx(0.25 * float(torch.stack([z_loss(x) for x in sides]).mean()))
    assert set(CrossEntropy(router_balance=0.1, router_z=0.1)(outputs, batch)) == {"loss", "router_balance", "router_z"}
    assert not CrossEntropy().reads_aux


MOE = "{kind: moe, n_experts: 4, top_k: 2, expert: {kind: mlp, d_ff: 32}}"


def test_routers_of_a_decoder_leave_out_the_padding_of_the_decoder(tmp_path: Path):
    dense = "{kind: mlp, d_ff: 96, activation: relu}"
    (tmp_path / "moe.yaml").write_text(load_spec("tiny-t5").to_yaml().replace(dense, MOE))
    model = to_torch(load_spec(tmp_path / "moe.yaml"), seed=0)
    masks = router_masks(model.program)
    assert masks == {
        "encoder.router_logits": "attention_mask", "decoder.router_logits": "decoder_attention_mask",
    }  # fmt: skip
    draw = torch.Generator().manual_seed(1)
    batch = {"labels": torch.randint(0, 128, (2, 5), generator=draw)}
    for side, lengths in (("", (9, 4)), ("decoder_", (2, 5))):
        batch[f"{side}input_ids"] = torch.randint(0, 128, (2, max(lengths)), generator=draw)
        batch[f"{side}attention_mask"] = torch.tensor([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    outputs = model(**{name: value for name, value in batch.items() if name != "labels"}, aux=True)
    found = CrossEntropy(router_z=1.0, masks=masks)(outputs, batch)["router_z"]
    each = [
        (logits[batch[mask].bool()].double().exp().sum(-1).log() ** 2).mean()
        for name, mask in masks.items()
        for logits in outputs["aux"][name]
    ]
    assert len(each) == 4
    assert found.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
