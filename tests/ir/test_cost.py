"""Cost against what PyTorch counts, and within its bounds for a very deep model."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from flexit.errors import UserError
from flexit.ir.analysis.cost import cost, position_limit
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec, parse_spec, presets
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.sessions.torch_session import TorchSession

ALL = presets()
SMALL = [*(name for name in ALL if name.startswith("tiny-")), "demo-decoder"]
BATCH, SEQ = 2, 12


def inputs_of(module: FlexitModule) -> dict[str, torch.Tensor]:
    names = [entry.name for entry in module.program.inputs if not entry.optional]
    return {name: torch.ones(BATCH, SEQ, dtype=torch.int64) for name in names}


class AttentionFlops(TorchFunctionMode):
    """Counts what the flop counter of PyTorch does not see on a CPU."""

    total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            (batch, heads, queries, width), keys, out = args[0].shape, args[1].shape[2], args[2].shape[3]
            self.total += 2 * batch * heads * queries * keys * (width + out)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_those_of_the_program_and_of_the_blocks(name: str) -> None:
    program = compile_spec(load_spec(name))
    needs = cost(program)
    assert needs.parameters == sum(param.size for param in program.params())
    assert needs.parameters == sum(block.parameters for block in needs.blocks)
    assert needs.flops == sum(block.flops for block in needs.blocks)


@pytest.mark.parametrize("name", SMALL)
def test_parameters_are_those_of_the_module(name: str) -> None:
    module = to_torch(load_spec(name))
    needs = cost(module.program)
    assert needs.parameters == sum(param.numel() for param in module.parameters())
    assert needs.weights["fp32"] == sum(param.numel() * param.element_size() for param in module.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_flops_are_those_that_pytorch_counts(name: str) -> None:
    module = to_torch(load_spec(name)).eval()
    with torch.no_grad(), AttentionFlops() as attention, FlopCounterMode(display=False) as counter:
        module(**inputs_of(module))
    assert cost(module.program, batch=BATCH, seq=SEQ).flops == counter.get_total_flops() + attention.total


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ("tiny-bert-classifier", "tiny-hourglass")])
def test_cache_is_what_a_decoder_returns(name: str) -> None:
    module = to_torch(load_spec(name))
    session = TorchSession(module)
    session.start({name: value.numpy() for name, value in inputs_of(module).items()})
    kept = [*session._cache, *(value for value in session._fixed.values() if value.is_floating_point())]
    assert cost(module.program, batch=BATCH, seq=SEQ).cache == sum(state.numel() * 4 for state in kept)


def test_cache_grows_by_keys_and_values() -> None:
    needs = cost(load_spec("gpt2"), seq=10)
    assert needs.cache_per_token == 12 * 2 * 768 * 4
    assert needs.cache == 10 * needs.cache_per_token


def test_active_parameters_of_a_mixture() -> None:
    needs = cost(load_spec("mixtral-8x7b"))
    assert needs.parameters - needs.active == 32 * 6 * 3 * 4096 * 14336


def test_shared_parameters_count_once() -> None:
    layer = 4 * (512 * 512 + 512) + 2 * (2 * 512 * 2048 + 2048 + 512) + 3 * 2 * 512
    assert cost(load_spec("universal-macaron")).parameters == 32000 * 512 + layer + 2 * 512


def test_lengths_by_name() -> None:
    needs = cost(load_spec("t5-small"), seq={"seq": 7, "decoder_seq": 3})
    assert needs.lengths == {"batch": 1, "seq": 7, "decoder_seq": 3, "decoder_total": 3}


def test_default_length_is_within_the_position_table() -> None:
    assert cost(load_spec("tiny-gpt2")).lengths["seq"] == 64


@pytest.mark.parametrize(("arguments", "code"), [({"seq": {"sequence": 3}}, "FX1101"), ({"batch": 0}, "FX1102")])
def test_lengths_that_do_not_exist(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(UserError) as refused:
        cost(load_spec("gpt2"), **arguments)
    assert refused.value.code == code


DEEP = """
import re, resource, time
from pathlib import Path
from flexit.ir.analysis.cost import cost
from flexit.ir.spec import Spec

layer = {
    "kind": "transformer_layer", "norm": "rms_norm", "norm_placement": "pre",
    "attention": {"kind": "multi_head", "n_heads": 24, "n_kv_heads": 8, "rotary": {}, "mask": "causal"},
    "feed_forward": {"kind": "gated_mlp", "d_ff": 8192},
}
stack = {
    "kind": "stack", "n_layers": 10_000, "layer": layer, "final_norm": True,
    "variants": {
        "local": {"attention": {"mask": {"kind": "causal", "window": 512}}}, "wide": {"feed_forward": {"d_ff": 10240}},
    },
    "pattern": ["default", "local", "wide", ["local", "wide"], "default*2"],
}
blocks = {
    "embed": {"kind": "embedding", "vocab_size": 128000, "d_model": 3072}, "decoder": stack,
    "head": {"kind": "lm_head", "tied_to": "embed"},
}
start = time.process_time()
needs = cost(Spec.model_validate({"flexit": 1, "name": "deep", "blocks": blocks}))
spent = time.process_time() - start
status = Path("/proc/self/status")
if status.exists():
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) / 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
assert needs.parameters > 10**12 and spent < 2 and peak < 300, (needs.parameters, spent, peak)
"""


def test_ten_thousand_layers_in_two_seconds() -> None:
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_table_over_a_length_that_no_input_changes_does_not_limit_the_inputs():
    spec = parse_spec("""
flexit: 1
name: latents
blocks:
  embed: {kind: embedding, vocab_size: 31, d_model: 16}
  latents: {kind: learned_tokens, from: {like: embed}, n_tokens: 4}
  placed: {kind: add_position, position: {kind: learned, max_len: 4}}
  read: {kind: multi_head, n_heads: 2, from: {x: embed, memory: placed}}
  own: {kind: multi_head, n_heads: 2, mask: causal, rotary: {}}
  head: {kind: lm_head, tied_to: embed}
""")
    assert position_limit(compile_spec(spec)) is None


@pytest.mark.parametrize("preset", ["bert-base", "tiny-bert-classifier", "tiny-t5", "gpt2", "tiny-unet"])
def test_blocks_are_listed_in_the_order_of_the_spec(preset: str) -> None:
    spec = load_spec(preset)
    listed = [block.path for block in cost(spec).blocks]
    assert listed == [name for name in spec.blocks if name in listed]
    assert len(listed) > 2
