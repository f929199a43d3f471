"""Branches of low rank: first values, gradients and merging against the formula, and what cannot have one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

import flexit
from flexit.errors import UserError
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.adapters.modules import add_lora, merge_lora

PRESETS = ("tiny-llama", "tiny-moe", "tiny-gpt2", "tiny-t5")


def plain(preset: str) -> FlexitModule:
    return to_torch(flexit.load_spec(preset), seed=0).eval()


def inputs(model: FlexitModule) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        entry.name: torch.randint(0, 60, (2, 9), generator=generator)
        for entry in model.program.inputs if not entry.optional
    }  # fmt: skip


def moved(model: FlexitModule) -> FlexitModule:
    """The branches as training may leave them."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("preset", PRESETS)
def test_it_begins_as_the_model(preset: str):
    model = plain(preset)
    tuned = add_lora(model, rank=3).eval()
    given = inputs(model)
    with torch.no_grad():
        before, after = model(**given)["logits"], tuned(**given)["logits"]
    assert torch.allclose(before, after, rtol=0, atol=1e-6)
    learning = {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in tuned.named_parameters() if ".lora_" in name}
    for name, parameter in tuned.named_parameters():
        if name.endswith("lora_b.weight"):
            assert not parameter.any()
        elif name.endswith("lora_a.weight"):
            assert 0.5 < float(parameter.detach().abs().max()) * parameter.shape[-1] ** 0.5 <= 1


@pytest.mark.parametrize("preset", ["tiny-llama", "tiny-moe"])
@pytest.mark.parametrize("stabilised", [False, True])
def test_gradients_are_those_of_the_formula(preset: str, stabilised: bool):
    """In float64, of a model whose weights are W + scale B A, by autograd through the sum."""
    model = plain(preset).double()
    tuned = moved(add_lora(plain(preset), rank=4, alpha=6.0, rank_stabilised=stabilised)).double().eval()
    scale = 6.0 / (2.0 if stabilised else 4.0)
    given = inputs(model)
    tuned(**given)["logits"].square().mean().backward()
    found = {name: p for name, p in tuned.named_parameters() if p.requires_grad}
    parts = {name: p.detach().clone().requires_grad_() for name, p in found.items()}
    weights: dict[str, Any] = dict(model.named_parameters())
    for name, a in parts.items():
        if name.endswith("lora_a.weight"):
            path = name.removesuffix(".lora_a.weight")
            weights[f"{path}.weight"] = weights[f"{path}.weight"] + scale * parts[f"{path}.lora_b.weight"] @ a
    functional_call(model, weights, kwargs=given)["logits"].square().mean().backward()
    assert len(parts) >= 28
    for name, parameter in found.items():
        wanted, grad = parts[name].grad, parameter.grad
        assert wanted is not None and grad is not None and wanted.any()
        assert torch.allclose(grad, wanted, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("preset", PRESETS)
def test_merged_it_computes_the_same(preset: str):
    tuned = moved(add_lora(plain(preset), rank=3, alpha=5.0)).eval()
    merged = merge_lora(tuned)
    given = inputs(tuned)
    with torch.no_grad():
        wanted, found = tuned(**given)["logits"], merged(**given)["logits"]
        assert not torch.allclose(wanted, plain(preset)(**given)["logits"], rtol=1e-2)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert not any(".lora_" in name for name, _ in merged.named_parameters())


def test_merged_weights_are_the_sum_by_hand():
    tuned = moved(add_lora(plain("tiny-moe"), rank=2, alpha=3.0))
    values = {name: value.detach().double().numpy() for name, value in tuned.named_parameters()}
    merged = dict(merge_lora(tuned).named_parameters())
    for path in ("decoder.layers.0.attention.v_proj", "decoder.layers.1.feed_forward.experts.up_proj"):
        a, b, w = (values[f"{path}.{each}weight"] for each in ("lora_a.", "lora_b.", ""))
        wanted = w.copy()
        for index in np.ndindex(w.shape):
            *expert, row, column = index
            wanted[index] += 1.5 * sum(b[(*expert, row, k)] * a[(*expert, k, column)] for k in range(2))
        np.testing.assert_allclose(merged[f"{path}.weight"].detach().numpy(), wanted, rtol=0, atol=1e-6)


def test_dropout_is_on_the_branch_alone():
    tuned = moved(add_lora(plain("tiny-llama"), rank=3, dropout=0.5))
    given = inputs(tuned)
    with torch.no_grad():
        one, two = (tuned.train()(**given)["logits"] for _ in range(2))
        assert not torch.equal(one, two)
        assert torch.equal(*(tuned.eval()(**given)["logits"] for _ in range(2)))
    still = add_lora(plain("tiny-llama"), rank=3, dropout=0.5).train()  # B is zero: nothing comes of the branch
    with torch.no_grad():
        assert torch.equal(*(still(**given)["logits"] for _ in range(2)))


def test_targets_and_what_learns_besides():
    tuned = add_lora(
        plain("tiny-llama"), rank=2, targets=[{"match": "decoder.layers.1.attention.*", "role": "projection"}],
        trained=[{"match": "decoder.final_norm.*"}],
    )  # fmt: skip
    learning = {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    branches = {f"decoder.layers.1.attention.{p}_proj.lora_{x}.weight" for p in "kv" for x in "ab"}
    assert learning == {*branches, "decoder.final_norm.weight"}


@pytest.mark.parametrize(
    ("settings", "code", "text"),
    [
        (
            {"targets": [{"role": "embedding"}]},
            "FX2210",
            "which means embed.tokens.weight: a table, a vector",
        ),
        ({"targets": [{"match": "*norm*"}]}, "FX2210", "a vector"),
        ({"targets": [{"match": "decoder.layer.*"}]}, "FX2210", "such as decoder.layers"),
        ({"trained": [{"match": "heads.*"}]}, "FX2210", "lora.trained"),
        ({"rank": 0}, "FX0206", "rank"),
        ({"ranks": 4}, "FX0201", "rank"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: Any, code: str, text: str):
    with pytest.raises(UserError) as caught:
        add_lora(plain("tiny-gpt2"), **settings)
    assert [problem.code for problem in caught.value.problems] == [code]
    assert text in str(caught.value)


def test_branches_are_added_and_merged_once():
    model = plain("tiny-llama")
    with pytest.raises(UserError, match="FX2007"):
        merge_lora(model)
    with pytest.raises(UserError, match=r"FX2007[\s\S]*merge_lora"):
        add_lora(add_lora(model))
    assert flexit.add_lora is add_lora and flexit.merge_lora is merge_lora
