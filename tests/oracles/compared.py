"""Compares the torch module of a case, in float64 on stress weights, with its definition."""

import json
import re
from functools import cache

import numpy as np
import torch

from flexit.ir.compile import compile_spec
from flexit.ir.io.load import parse_spec
from flexit.lower.torch.module import build, fill
from flexit.runtime.proof.compare import relative_error
from flexit.runtime.proof.stress import stress_weights
from tests.oracles.cases import attention, blocks, layers, scaling, score_bias
from tests.oracles.cases.case import LENGTH, ROWS, VOCAB, Case
from tests.oracles.reference.model import interpret

CASES = [*attention.CASES, *blocks.CASES, *layers.CASES, *scaling.CASES, *score_bias.CASES]
assert len({case.name for case in CASES}) == len(CASES), "two cases of one name"


def spec_of(data):
    """The spec, through every phase that a user's file goes through."""
    return parse_spec(json.dumps(data))


def padded(rows, length):
    """Without padding, then padded left, right, in the middle, and everywhere."""
    mask = np.ones((rows, length), np.int64)
    mask[1, :3] = 0
    mask[2, -2:] = 0
    mask[3, 2:4] = 0
    mask[4, [0, 3, length - 1]] = 0
    return mask


def batch(case: Case):
    """Ids or values for every input, a padded mask for each that has one, and what else the case passes."""
    rng = np.random.default_rng(11)
    given = {}
    for number, (name, declared) in enumerate(case.spec.get("inputs", {"input_ids": "tokens"}).items()):
        fields = {"kind": declared} if isinstance(declared, str) else declared
        like = fields.get("like") or ("input_ids" if name == "token_type_ids" else None)
        length = LENGTH if number == 0 or like else LENGTH - 2
        if fields["kind"] == "tokens":
            rows = 3 if name == "token_type_ids" else VOCAB
            given[name] = rng.integers(0, rows, (ROWS, length))
        else:
            width = int(fields["width"])
            given[name] = rng.standard_normal((ROWS, width) if fields["kind"] == "vector" else (ROWS, length, width))
        if fields["kind"] != "vector" and not like:
            prefix = re.sub(r"(input_ids|inputs_embeds|hidden_states)$", "", name)
            prefix = f"{name}_" if prefix == name else prefix
            given[f"{prefix}attention_mask"] = padded(ROWS, length)[:: 1 if number == 0 else -1]
            if "position_ids" in case.passed:
                given[f"{prefix}position_ids"] = rng.integers(0, 8, (ROWS, length))
            if "prefix_lengths" in case.passed:
                given[f"{prefix}prefix_lengths"] = np.array([4, 2, 0, 9, 3])
    return given


def ours(data, given, *, weights=None, dtype=torch.float64):
    """Outputs of the module by name, its side outputs, its weights: those given where they fit, else stress ones."""
    program = compile_spec(spec_of(data))
    drawn, given_ones = stress_weights(program), weights or {}
    weights = {
        path: given_ones[path] if path in given_ones and given_ones[path].shape == array.shape else array
        for path, array in drawn.items()
    }
    module = build(program)
    fill(module, weights, dtype=dtype, device=torch.device("cpu"))
    read = {entry.name for entry in program.inputs}  # a mask or position ids that nothing reads is no input
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in given.items() if name in read}
    tensors = {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}
    with torch.no_grad():
        outputs = module.eval()(**tensors, aux=True)
    side = [logits for several in outputs.pop("aux").values() for logits in several]
    assert {value.dtype for value in outputs.values()} == {dtype}
    return {name: _array(value) for name, value in outputs.items()}, [_array(value) for value in side], weights


def _array(value):
    return value.double().numpy()


@cache
def computed(case: Case):
    """What a case computes on its batch, as :func:`ours` gives it; not to be changed."""
    return ours(case.spec, batch(case))


@cache
def defined(case: Case):
    """What the definitions say of a case, with what was read on the way."""
    _, _, weights = computed(case)
    return interpret(case.spec, weights, batch(case))


def worst_error(case: Case):
    """Largest relative error over outputs and side outputs, on slots that are no padding."""
    given = batch(case)
    found, side, weights = computed(case)
    expected, run = defined(case)
    assert list(found) == list(expected)
    assert set(weights) == run.used
    assert run.ledger.unread() == []
    errors = [relative_error(found[name], array, mask) for name, (array, mask) in expected.items()]
    errors += [
        relative_error(here, there, given["attention_mask"] != 0) for here, there in zip(side, run.side, strict=True)
    ]
    assert all(found[name].shape == array.shape for name, (array, _) in expected.items())
    return max(errors)
