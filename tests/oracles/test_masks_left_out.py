"""A mask of tokens that is left out: the same numbers as one of ones, by the kernels that need no mask where it can."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import FlexitModule, to_torch
from tests.oracles.test_masks import LONGEST, MASKS, defined, model, named, prefixes

SCORES = {
    "plain": "",
    "bias": ", score_bias: alibi",
    "softcap": ", scores: {softcap: 2.0}",
    "sinks": ", scores: {sinks: learned}",
    "groups": ", n_kv_heads: 1",
    "dropped": ", dropout: 0.3",
}
KINDS = ("causal", "full", "{kind: causal, window: 5}")
ONE = """
flexit: 1
name: one
blocks:
  embed: {{kind: embedding, vocab_size: 50, d_model: 16}}
  body:
    kind: stack
    n_layers: 2
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {{kind: multi_head, n_heads: 2, mask: {mask}{scores}}}
      feed_forward: {{kind: mlp, d_ff: 32}}
  head: {{kind: lm_head}}
"""
LAYER = "kind: transformer_layer, norm: rms_norm, norm_placement: pre, feed_forward: {kind: mlp, d_ff: 32}"
HEADS = "kind: multi_head, n_heads: 2"
TWO = f"""
flexit: 1
name: two
inputs: {{input_ids: tokens, decoder_input_ids: tokens}}
blocks:
  source: {{kind: embedding, from: input_ids, vocab_size: 50, d_model: 16}}
  encoder: {{kind: stack, n_layers: 1, layer: {{{LAYER}, attention: {{{HEADS}, mask: full}}}}}}
  target: {{kind: embedding, from: decoder_input_ids, tied_to: source}}
  decoder:
    kind: stack
    from: {{x: target, memory: encoder}}
    n_layers: 1
    layer: {{{LAYER}, attention: {{{HEADS}, mask: causal}}, cross_attention: {{{HEADS}, mask: full}}}}
  head: {{kind: lm_head, tied_to: source}}
"""


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each call of the stock attention said of its mask: causal, none or a tensor."""
    said: list[str] = []
    stock: Callable[..., torch.Tensor] = F.scaled_dot_product_attention

    def noted(*args: Any, **kwargs: Any) -> torch.Tensor:
        mask = kwargs.get("attn_mask")
        said.append("causal" if kwargs.get("is_causal") else "none" if mask is None else "tensor")
        return stock(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    return said


@pytest.mark.parametrize("mask", MASKS, ids=named)
def test_every_mask_against_its_definition(mask: dict[str, Any], kernels: list[str]):
    module = model(json.dumps(mask)).eval()
    for length in range(1, LONGEST + 1):
        ones = np.ones((6, length), np.int64)
        lengths = prefixes(ones) if mask["kind"] == "prefix" else np.zeros(6, np.int64)
        embeds = torch.eye(length, LONGEST).expand(6, length, LONGEST)
        more = {"prefix_lengths": torch.from_numpy(lengths)} if mask["kind"] == "prefix" else {}
        with torch.no_grad():
            seen = module(inputs_embeds=embeds, **more)["logits"][..., :length].numpy() > 1e-6
        assert np.array_equal(seen, defined(mask, ones, lengths)), length
    near = mask.get("window") or mask.get("chunk")
    assert set(kernels) == {{"full": "none", "causal": "causal"}.get(mask["kind"], "tensor") if not near else "tensor"}


def random(spec: str) -> FlexitModule:
    """A model whose attention is far from flat."""
    module = to_torch(parse_spec(spec), seed=3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    return module


def gradients(module: FlexitModule, **inputs: torch.Tensor) -> list[torch.Tensor]:
    """The logits, and the gradient of each parameter."""
    module.zero_grad()
    torch.manual_seed(7)
    logits = module(**inputs)["logits"]
    logits.logsumexp(-1).square().sum().backward()
    return [logits.detach(), *(p.grad for p in module.parameters() if p.grad is not None)]


@pytest.mark.parametrize("mask", KINDS)
@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_scores_of_every_kind(scores: str, mask: str, kernels: list[str]):
    """In training too, but for dropout: kernels draw what they drop in their own order."""
    spec = ONE.format(mask=mask, scores=scores)
    if "score_bias" in scores:
        spec = spec.replace(", score_bias: alibi", "").replace("n_layers: 2", "n_layers: 2\n    score_bias: alibi")
    module, ids = random(spec).train("dropout" not in scores), torch.arange(24).reshape(2, 12) * 7 % 50
    left_out = gradients(module, input_ids=ids)
    plain = {"causal": "causal", "full": "none"}.get(mask, "tensor")
    stock = not any(each in scores for each in ("softcap", "sinks"))
    assert kernels == ["tensor" if "bias" in scores else plain] * (2 * stock)
    given = gradients(module, input_ids=ids, attention_mask=torch.ones_like(ids))
    for one, other in zip(left_out, given, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_an_encoder_beside_a_decoder(kernels: list[str]):
    module, ids = random(TWO), torch.arange(24).reshape(2, 12) * 7 % 50
    inputs = {"input_ids": ids, "decoder_input_ids": ids[:, :5]}
    left_out = gradients(module, **inputs)
    assert kernels == ["none", "causal", "none"]
    some = torch.ones_like(ids)
    given = gradients(module, **inputs, attention_mask=some, decoder_attention_mask=some[:, :5])
    assert kernels[3:] == ["tensor"] * 3
    for one, other in zip(left_out, given, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_packed_rows_need_a_tensor(kernels: list[str]):
    module, ids = random(ONE.format(mask="causal", scores="")), torch.arange(24).reshape(2, 12) * 7 % 50
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 12])
    packed = gradients(module, input_ids=ids, document_ids=documents)[0]
    alone = gradients(module, input_ids=ids[:1, 5:])[0]
    assert kernels == ["tensor", "tensor", "causal", "causal"]
    torch.testing.assert_close(packed[:1, 5:], alone, rtol=1e-4, atol=1e-4)


def test_a_cache_needs_a_tensor(kernels: list[str]):
    module, ids = random(ONE.format(mask="causal", scores="")).eval(), torch.arange(24).reshape(2, 12) * 7 % 50
    with torch.no_grad():
        whole = module(input_ids=ids)["logits"]
        first = module(input_ids=ids[:, :7], cache=module.empty_cache(2))
        rest = module(input_ids=ids[:, 7:], cache=first["cache"])["logits"]
    assert kernels == ["causal"] * 2 + ["tensor"] * 4
    torch.testing.assert_close(torch.cat([first["logits"], rest], 1), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_exported_program_has_no_mask(dtype: torch.dtype):
    """And rows of any length: what training does with short ones is none of it."""
    module, ids = random(ONE.format(mask="causal", scores="")).eval().to(dtype), torch.arange(24).reshape(2, 12) * 2
    auto = torch.export.Dim.AUTO
    exported = torch.export.export(module, (ids,), dynamic_shapes={"input_ids": {0: auto, 1: auto}})
    calls = [node for node in exported.graph.nodes if "scaled_dot_product" in str(node.target)]
    assert [len(node.args) < 4 or node.args[3] is None for node in calls] == [True, True]
    assert all("causal" in str(node.kwargs) or True in node.args for node in calls)
    longer = torch.arange(300).reshape(2, 150) % 50
    torch.testing.assert_close(exported.module()(longer)["logits"], module(longer)["logits"])


@pytest.mark.parametrize("extra", ["", ", score_bias: alibi", ", n_kv_heads: 1"])
@pytest.mark.parametrize("length", [12, 150])
def test_short_rows_in_narrow_floats_are_attended_to_in_fp32_in_training(
    length: int, extra: str, monkeypatch: pytest.MonkeyPatch
):
    """Their backward is slow in the stock kernel of a CPU; the numbers are as near to those of fp32 as that one's."""
    spec = ONE.format(mask="causal", scores=extra)
    if "score_bias" in extra:
        spec = spec.replace(extra, "").replace("n_layers: 2", "n_layers: 2\n    score_bias: alibi")
    module, ids = random(spec), torch.arange(2 * length).reshape(2, length) * 7 % 50
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    dtypes: list[torch.dtype] = []
    stock_function: Callable[..., torch.Tensor] = F.scaled_dot_product_attention

    def noted(q: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        dtypes.append(q.dtype)
        return stock_function(q, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    for inputs in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": mask}):
        wanted = gradients(module, **inputs)[1:]

        def off(inputs: dict[str, torch.Tensor] = inputs, wanted: list[torch.Tensor] = wanted) -> float:
            with torch.autocast("cpu", torch.bfloat16):
                found = gradients(module, **inputs)[1:]
            return max(float((a - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))

        dtypes.clear()
        error = off()
        assert dtypes == [torch.float32 if length == 12 else torch.bfloat16] * 2
        with monkeypatch.context() as patch:
            patch.setattr("flexit.lower.torch.ops.attention.SHORT", 0)
            stock = off()
        assert 0 < error < 1.5 * stock < 0.2
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        module(input_ids=ids)
    assert dtypes[-2:] == [torch.bfloat16] * 2
