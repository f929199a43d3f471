"""What differs below fp32 only: where a cast stands. Rounding to bfloat16 is written out here, bit by bit."""

import json

import numpy as np
import pytest
import torch

from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.proof.compare import relative_error
from tests.oracles.cases.case import document
from tests.oracles.compared import CASES, batch, defined, ours

WIDTH, ROWS = 24, 50
FIELDS = {("Block.rms_norm", "fp32_gain"): [True, False]}
"""Fields that these tests speak for, with their values."""


def rounded(x):
    """The nearest bfloat16, ties to even: the upper half of a float32."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32).astype(np.float64)


def run(blocks, weights, given, **more):
    module = to_torch(parse_spec(json.dumps(document(blocks, **more))), weights, dtype=torch.bfloat16).eval()
    with torch.no_grad():
        (result,) = module(**given).values()
    return result.double().numpy()


def agreement(found, expected):
    """Share of numbers that are equal to the last bit."""
    return float((found == expected).mean())


@pytest.mark.parametrize("fp32_gain", FIELDS["Block.rms_norm", "fp32_gain"])
def test_where_the_gain_multiplies(fp32_gain):
    rng = np.random.default_rng(3)
    x = rounded(rng.standard_normal((ROWS, 7, WIDTH)))
    gain = rounded(1 + rng.standard_normal(WIDTH))
    block = {"kind": "rms_norm", "eps": 1e-6, "fp32_gain": fp32_gain}
    inputs = {"inputs_embeds": {"kind": "sequence", "width": WIDTH}}
    given = {"inputs_embeds": torch.from_numpy(x).to(torch.bfloat16)}
    found = run({"norm": block}, {"norm.weight": gain}, given, inputs=inputs)
    normed = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    late, early = rounded(normed * gain), rounded(rounded(normed) * gain)
    assert agreement(late, early) < 0.9
    assert agreement(found, late if fp32_gain else early) > 0.995


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_models_keep_their_precision(case):
    """Tables, masks and sums in fp32 do not lift what they meet; ``ours`` checks the dtype of every output."""
    given = batch(case)
    found, _, weights = ours(case.spec, given, dtype=torch.bfloat16)
    exact, _, _ = ours(case.spec, given, weights=weights)
    masks = {name: mask for name, (_, mask) in defined(case)[0].items()}
    if "moe" not in json.dumps(case.spec):  # rounding may choose another expert
        assert max(relative_error(found[name], array, masks[name]) for name, array in exact.items()) < 0.1


def test_the_embedding_multiplier_is_rounded_like_the_table():
    rng = np.random.default_rng(3)
    table, ids = rounded(rng.standard_normal((40, WIDTH))), rng.integers(0, 40, (ROWS, 7))
    embed = {"kind": "embedding", "vocab_size": 40, "d_model": WIDTH, "multiplier": "sqrt_d_model"}
    found = run({"embed": embed}, {"embed.tokens.weight": table}, {"input_ids": torch.from_numpy(ids)})
    assert rounded(np.sqrt(WIDTH)) != np.sqrt(WIDTH)
    assert agreement(found, rounded(table[ids] * rounded(np.sqrt(WIDTH)))) > 0.995
