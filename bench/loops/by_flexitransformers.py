"""``FlexiGPT`` of FlexiTransformers 0.3.0: ``python by_flexitransformers.py gpt WEIGHTS [compiled|trainer]``.

In a plain loop, or in its own ``Trainer``, which has its forward make logits and its ``LossCompute`` make them again.

Its import name is ``flexit``, so its folder stands first on the path of this process, which has nothing of ours.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator

import torch
import turns
from flexit.training import Batch, LossCompute, Trainer
from rich.console import Console
from safetensors.torch import load_file

from flexit import FlexiGPT

NAMES = {
    r"embed\.tokens": "embed.embed.embed",
    r"(decoder\.layers\.\d+)\.attention\.([qkv]_proj)": r"\1.self_attn.\2",
    r"(decoder\.layers\.\d+)\.attention\.o_proj": r"\1.self_attn.out_proj",
    r"(decoder\.layers\.\d+)\.feed_forward\.gate_proj": r"\1.ff.w_gate",
    r"(decoder\.layers\.\d+)\.feed_forward\.up_proj": r"\1.ff.w1",
    r"(decoder\.layers\.\d+)\.feed_forward\.down_proj": r"\1.ff.w2",
    r"(decoder\.layers\.\d+)\.attention_input_norm": r"\1.sublayer1.norm",
    r"(decoder\.layers\.\d+)\.feed_forward_input_norm": r"\1.sublayer2.norm",
    r"decoder\.final_norm": "decoder.norm",
}


def renamed(name: str) -> str:
    """What it calls a parameter of ours."""
    for pattern, other in NAMES.items():
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", other, name)
    raise SystemExit(f"no name for {name}")


class Loader:
    """Its batches as they are asked for; says after each step what it took since its batch was asked for."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.loss = 0.0

    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Iterator[Batch]:
        for turn in turns.turns():
            ids = turns.tokens(turn)
            began = time.perf_counter()
            yield Batch(tgt=ids, pad=-1, model_type="decoder-only")
            took = time.perf_counter() - began
            turns.tell(loss=self.loss, seconds=took, peak=turns.memory("VmHWM") - self.before)


def train(model: torch.nn.Module, *, before: int) -> None:
    """Its ``Trainer``, without the clip of gradients."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=turns.RATE, fused=True)
    compute = LossCompute(model.generator, torch.nn.CrossEntropyLoss(reduction="sum"), model, grad_clip=0.0)
    loader = Loader(before)

    def loss_fn(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        losses = compute(*given)
        loader.loss = losses[0].item()
        return losses

    trainer = Trainer(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0), loss_fn, loader)
    trainer.console = Console(stderr=True)
    turns.ready(model)
    trainer.fit(epochs=1)


def main(kind: str, weights: str, mode: str = "eager") -> None:
    """Serve until no more turns come."""
    del kind
    before = turns.memory("VmRSS")
    model = FlexiGPT(
        vocab_size=turns.VOCAB, d_model=turns.WIDTH, n_heads=turns.HEADS, n_layers=turns.LAYERS, d_ff=turns.D_FF,
        dropout=0.0, max_seq_len=turns.LENGTH, attention_bias=False,
    )  # fmt: skip
    ours = {renamed(name): value for name, value in load_file(weights).items()}
    told = model.load_state_dict(ours, strict=False)
    left = [name for name in told.missing_keys if "generator.proj.weight" not in name and "inv_freq" not in name]
    if left or told.unexpected_keys:
        raise SystemExit(f"its parameters are others: {left}, {told.unexpected_keys}")
    if mode == "trainer":
        train(model, before=before)
        return
    mask = torch.ones(1, turns.LENGTH, turns.LENGTH, dtype=torch.bool).tril()
    turns.serve(model, lambda ids: model(tgt=ids, tgt_mask=mask), before=before, compiled=mode == "compiled")


if __name__ == "__main__":
    main(*sys.argv[1:])
