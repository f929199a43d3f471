"""A training step of a lowered spec against the same model written by hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.handwritten import Gpt, Llama
from bench.report import Section, spread
from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch

PAIRS, BATCH, LENGTH = 15, 8, 256
VOCAB, WIDTH, LAYERS, D_FF = 8192, 384, 6, 1024

SPEC = """
flexit: 1
name: benched
blocks:
  embed: {{kind: embedding, vocab_size: {vocab}, d_model: {width}{embed}}}
  decoder:
    kind: stack
    n_layers: {layers}
    layer:
      kind: transformer_layer
      norm: {norm}
      norm_placement: pre
      attention: {attention}
      feed_forward: {feed_forward}
    final_norm: true
  head: {{kind: lm_head, tied_to: embed}}
"""
GPT = SPEC.format(
    vocab=VOCAB, width=WIDTH, layers=LAYERS, norm="layer_norm",
    embed=f", position: {{kind: learned, max_len: {LENGTH}}}",
    attention="{kind: multi_head, n_heads: 6, bias: true, mask: causal}",
    feed_forward=f"{{kind: mlp, d_ff: {D_FF}, activation: gelu_tanh, bias: true}}",
)  # fmt: skip
LLAMA = SPEC.format(
    vocab=VOCAB, width=WIDTH, layers=LAYERS, norm="rms_norm", embed="",
    attention="{kind: multi_head, n_heads: 6, n_kv_heads: 2, rotary: {}, mask: causal}",
    feed_forward=f"{{kind: gated_mlp, d_ff: {D_FF}}}",
)  # fmt: skip


def measure() -> Section:
    """Interleaved pairs of steps on the same batches."""
    rows = [["model", "parameters", "by hand, ms", "flexit, ms", "by hand / flexit", "difference of the loss"]]
    rows.append(_compared("GPT-2-like", GPT, Gpt(
        vocab=VOCAB, width=WIDTH, layers=LAYERS, heads=6, d_ff=D_FF, max_len=LENGTH
    )))  # fmt: skip
    rows.append(_compared("Llama-like", LLAMA, Llama(
        vocab=VOCAB, width=WIDTH, layers=LAYERS, heads=(6, 2), d_ff=D_FF
    )))  # fmt: skip
    text = (
        f"Forward, cross-entropy, backward and fused AdamW on {BATCH} x {LENGTH} tokens, fp32, "
        f"{torch.get_num_threads()} threads: {PAIRS} pairs of steps in turn, after two that do not count. The "
        "hand-written module has no padding mask and no cache. Median (smallest to largest); the ratio is taken pair "
        "by pair, above 1 flexit is the faster one. `python -m bench training`"
    )
    return Section("A training step", text, rows)


def _compared(name: str, text: str, hand: nn.Module) -> list[str]:
    ours = to_torch(parse_spec(text), seed=0)
    hand.load_state_dict(ours.state_dict())
    steps = [_stepper(hand, hand), _stepper(ours, lambda ids: ours(input_ids=ids)["logits"])]
    rng = torch.Generator().manual_seed(0)
    seconds: list[list[float]] = [[], []]
    difference = 0.0
    for turn in range(PAIRS + 2):
        tokens = torch.randint(0, VOCAB, (BATCH, LENGTH + 1), generator=rng)
        losses = [0.0, 0.0]
        for side in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            losses[side] = steps[side](tokens)
            if turn >= 2:
                seconds[side].append(time.perf_counter() - began)
        difference = max(difference, abs(losses[0] - losses[1]) / losses[0])
    if difference > 1e-4:
        raise SystemExit(f"{name}: the two sides do not train the same model, losses differ by {difference:.1e}")
    ratios = [a / b for a, b in zip(*seconds, strict=True)]
    size = sum(parameter.numel() for parameter in ours.parameters())
    by_hand, by_spec = (f"{median(side) * 1e3:.0f}" for side in seconds)
    return [name, f"{size / 1e6:.1f}M", by_hand, by_spec, spread(ratios), f"{difference:.0e}"]


def _stepper(module: nn.Module, logits: Callable[[Tensor], Tensor]) -> Callable[[Tensor], float]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)

    def step(tokens: Tensor) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(logits(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
