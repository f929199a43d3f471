"""Our attention, norm and rotary ops on ONNX's own node test cases: inputs and expected outputs are theirs.

Each case is said in our ops and run in both lowerings. What a case asks for that our ops do not say is listed, with
the reason; a case that is on no list fails.
"""

import warnings
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import pytest

from flexit.ir.ops.mask import Mask, Piece
from flexit.runtime.proof.compare import relative_error
from tests.oracles.both import run_both

pytestmark = [pytest.mark.slow, pytest.mark.ort]
OPERATORS = ("Attention", "LayerNormalization", "RMSNormalization", "RotaryEmbedding")
TOLERANCE = 1e-5

LEAST = {"Attention": 67, "LayerNormalization": 19, "RMSNormalization": 19, "RotaryEmbedding": 8}
"""Cases that must run; the selection may grow but not shrink."""

HALF = "half precision: the portable target is fp32"
ROW_OFFSET = "each row has a causal offset of its own: our causal compares slots, one offset for the batch"
EMPTY_ROW = "a query that sees no key at all: padding in our models, whose value is not defined"
ONE_SIDED = "a window of two different sides: ours is causal or symmetric"
OUT_OF_STEP = "a past longer than the keys that follow it by the queries: ours appends one key per query"
NOT_SAID = {"Attention": {HALF: 11, ROW_OFFSET: 8, EMPTY_ROW: 5, ONE_SIDED: 1, OUT_OF_STEP: 1}}
"""How many cases of an operator ask for what our ops do not say."""


class NotSaid(Exception):
    """The case uses something that our ops do not say."""


@dataclass(frozen=True)
class NodeCase:
    """One case: attributes, inputs by their formal names, expected outputs by theirs."""

    name: str
    attributes: dict
    inputs: dict
    expected: dict


@cache
def node_cases(operator: str) -> list[NodeCase]:
    """ONNX's cases of one node of that operator; the expanded ones repeat the same data."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    found = []
    for case in collected:
        assert case.model is not None and case.data_sets is not None
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type != operator:
            continue
        schema = onnx.defs.get_schema(operator, case.model.opset_import[0].version)
        given, results = case.data_sets[0]
        inputs = _by_formal_name(nodes[0].input, [entry.name for entry in schema.inputs], given)
        expected = _by_formal_name(nodes[0].output, [entry.name for entry in schema.outputs], results)
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in nodes[0].attribute}
        found.append(NodeCase(case.name, attributes, inputs, expected))
    return found


def _by_formal_name(actual, formal, arrays):
    present = [name for name, given in zip(formal, actual, strict=False) if given]
    return dict(zip(present, arrays, strict=True))


# ---- attention


def heads(e, x, count):
    """``[batch, seq, heads * dim] -> [batch, heads, seq, dim]``."""
    return e.permute(e.reshape(x, "=0", "=1", count, x.dims[2] // count), 0, 2, 1, 3)


def attention_window(case):
    """Size of a causal or symmetric window in our terms, or None."""
    left, right = (case.attributes.get(f"{side}_window_size", -1) for side in ("left", "right"))
    if case.attributes.get("is_causal") or left < 0:
        if right >= 0:
            raise NotSaid(ONE_SIDED)
        return None if left < 0 else Piece("window", left + 1)
    if left != right:
        raise NotSaid(ONE_SIDED)
    return Piece("window_both", left)


def attention_arrays(case):
    """What is fed, in the shapes of our op: the mask split into a bias and a bool mask of rank 4, keys' padding."""
    given = case.inputs
    if any(array.dtype not in (np.float32, np.int64, np.bool_) for array in given.values()):
        raise NotSaid(HALF)
    length = given["K"].shape[-2] + (given["past_key"].shape[2] if "past_key" in given else 0)
    arrays = {name: given[name] for name in ("Q", "K", "V", "past_key", "past_value") if name in given}
    valid = given.get("nonpad_kv_seqlen", np.full(given["Q"].shape[0], length))
    arrays["key_mask"] = (np.arange(length)[None] < valid[:, None]).astype(np.int64)
    if "attn_mask" in given:
        mask = given["attn_mask"]
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        missing = length - mask.shape[-1]
        padded = np.pad(mask, [(0, 0)] * 3 + [(0, missing)])
        joined = mask.dtype == np.bool_ and not case.attributes.get("is_causal") and valid.min() == length
        if mask.dtype == np.bool_ and not joined:  # our mask op joins no bool tensors: a bias says the same
            padded = np.where(padded, np.float32(0), np.float32(-np.inf))
        arrays["allowed" if joined else "bias"] = padded
    queries = given["Q"].shape[-2]
    past = given["past_key"].shape[2] if "past_key" in given else 0
    if case.attributes.get("is_causal"):
        if "nonpad_kv_seqlen" in given:
            raise NotSaid(ROW_OFFSET)
        if past + queries > length:
            raise NotSaid(OUT_OF_STEP)
        arrays = cut_to(arrays, past + queries)  # keys after the last query, which no query sees
    require_a_key_per_query(case, arrays, past=past)
    batch, total = arrays["key_mask"].shape
    arrays["k_rank"] = np.tile(np.arange(total), (batch, 1))
    arrays["q_rank"] = np.tile(np.arange(past, past + queries), (batch, 1))
    return arrays


def cut_to(arrays, total):
    """The first ``total`` keys of everything that has keys."""
    past = arrays["past_key"].shape[2] if "past_key" in arrays else 0
    cut = dict(arrays)
    for name in ("K", "V"):
        cut[name] = cut[name][..., : total - past, :]
    for name in ("key_mask", "allowed", "bias"):
        if name in cut:
            cut[name] = cut[name][..., :total]
    return cut


def require_a_key_per_query(case, arrays, *, past):
    """Refuse cases in which some query sees nothing."""
    queries, total = case.inputs["Q"].shape[-2], arrays["key_mask"].shape[1]
    seen = arrays["key_mask"][:, None, None, :] != 0
    if case.attributes.get("is_causal"):
        seen = seen & (np.arange(total)[None] <= np.arange(past, past + queries)[:, None])
    seen = seen & arrays.get("allowed", True) & (arrays.get("bias", np.zeros(1)) > -1e30)
    if not seen.any(-1).all():
        raise NotSaid(EMPTY_ROW)


def attention(case):
    """The case in our ops: heads split, past and new joined, mask pieces, attention."""
    attributes, arrays = case.attributes, attention_arrays(case)
    causal, window = bool(attributes.get("is_causal")), attention_window(case)
    pieces = (Piece("causal"),) * causal + ((window,) if window else ())
    flat = "q_num_heads" in attributes

    def write(e, Q, K, V, key_mask, q_rank, k_rank, **rest):
        if flat:
            Q = heads(e, Q, attributes["q_num_heads"])
            K, V = (heads(e, x, attributes["kv_num_heads"]) for x in (K, V))
        if "past_key" in rest:
            K, V = e.concat([rest["past_key"], K], 2), e.concat([rest["past_value"], V], 2)
        mask = rest.get("allowed") or e.write(
            Mask(pieces=pieces), key_mask, q_rank, k_rank, None, None, None, name="mask"
        )
        scale = attributes.get("scale", Q.dims[3] ** -0.5)
        y = e.attention(
            Q, K, V, mask=mask, scale=scale, bias=rest.get("bias"), softcap=attributes.get("softcap") or None
        )
        y = e.reshape(e.permute(y, 0, 2, 1, 3), "=0", "=1", "*") if flat else y
        return (y, K, V) if "past_key" in rest else (y,)

    total = arrays["key_mask"].shape[1]
    presents = [case.expected[name][:, :, :total] for name in ("present_key", "present_value") if "past_key" in arrays]
    return run_both(write, arrays), [case.expected["Y"], *presents]


# ---- norms


def norm(kind):
    """A runner of norm cases: the axes that are normed together are one axis in ours."""

    def run(case):
        x, gain = case.inputs["X"], case.inputs.get("W", case.inputs.get("Scale", case.inputs.get("scale")))
        axis = case.attributes.get("axis", -1) % x.ndim
        width = int(np.prod(x.shape[axis:]))
        weights = {"norm.weight": gain.reshape(width)}
        bias = case.inputs.get("B")
        if bias is not None:
            weights["norm.bias"] = bias.reshape(width)

        def write(e, x):
            eps = case.attributes.get("epsilon", 1e-5)
            return (e.norm(x, kind, "norm", eps=eps, gain=True, bias=bias is not None),)

        found = run_both(write, {"x": x.reshape(*x.shape[:axis], width)}, weights)
        return {backend: [y.reshape(x.shape) for y in ys] for backend, ys in found.items()}, [case.expected["Y"]]

    return run


# ---- rotary


def rotary(case):
    """Tables looked up by position, then our rotation."""
    x, attributes = case.inputs["X"], case.attributes
    tables = [case.inputs[name] for name in ("cos_cache", "sin_cache")]
    if "position_ids" in case.inputs:
        tables = [table[case.inputs["position_ids"]] for table in tables]
    flat = x.ndim == 3
    style = "interleaved" if attributes.get("interleaved") else "half"

    def write(e, x, cos, sin):
        x = heads(e, x, attributes["num_heads"]) if flat else x
        y = e.rotate(x, (cos, sin), dim=attributes.get("rotary_embedding_dim") or x.dims[3], style=style)
        return (e.reshape(e.permute(y, 0, 2, 1, 3), "=0", "=1", "*") if flat else y,)

    return run_both(write, {"x": x, "cos": tables[0], "sin": tables[1]}), [case.expected["Y"]]


RUNNERS = {
    "Attention": attention,
    "LayerNormalization": norm("layer"),
    "RMSNormalization": norm("rms"),
    "RotaryEmbedding": rotary,
}


@cache
def verdicts(operator):
    """Per case: None where it ran with the worst error, or the reason why our ops do not say it."""
    errors, reasons = {}, {}
    for case in node_cases(operator):
        try:
            found, expected = RUNNERS[operator](case)
        except NotSaid as reason:
            reasons[case.name] = str(reason)
            continue
        for backend, results in found.items():
            pairs = zip(results, expected, strict=True)
            errors[case.name, backend] = max(relative_error(ours, theirs) for ours, theirs in pairs)
    return errors, reasons


@pytest.mark.parametrize("operator", OPERATORS)
def test_our_ops_agree(operator):
    errors, _ = verdicts(operator)
    assert {case: error for case, error in errors.items() if not error < TOLERANCE} == {}


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_case_is_dropped(operator):
    errors, reasons = verdicts(operator)
    assert Counter(reasons.values()) == NOT_SAID.get(operator, {})
    assert len({name for name, _ in errors}) >= LEAST[operator], reasons
