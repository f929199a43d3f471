"""The attention op with everything that may go into a softmax at once, against its definition in float64."""

import numpy as np
import pytest

from flexit.runtime.proof.compare import relative_error
from tests.oracles.both import run_both

pytestmark = pytest.mark.ort
BATCH, HEADS, GROUPS, QUERIES, KEYS, WIDTH, OUT = 2, 4, 2, 3, 5, 6, 7
SCALE, CAP = 0.7, 1.1
EXTRAS = ("inner", "bias", "sinks", "table", "mask")


def arrays():
    rng = np.random.default_rng(4)
    shapes = {
        "q": (BATCH, HEADS, QUERIES, WIDTH), "k": (BATCH, GROUPS, KEYS, WIDTH), "v": (BATCH, GROUPS, KEYS, OUT),
        "inner": (BATCH, HEADS, QUERIES, KEYS), "bias": (1, HEADS, QUERIES, KEYS), "sinks": (HEADS,),
        "table": (BATCH, 1, QUERIES, KEYS, OUT),
    }  # fmt: skip
    found = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    mask = rng.random((BATCH, 1, QUERIES, KEYS)) < 0.6
    mask[..., 1] = True
    return {**found, "mask": mask}


def definition(q, k, v, *, softcap, inner=None, bias=None, sinks=None, table=None, mask=None):
    """One query at a time; every optional operand as the docstring of the op says."""
    result = np.zeros((BATCH, HEADS, QUERIES, OUT))
    for row, head, query in np.ndindex(result.shape[:3]):
        keys = [key for key in range(KEYS) if mask is None or mask[row, 0, query, key]]
        group = head // (HEADS // GROUPS)
        scores = np.array([SCALE * float(np.float64(q[row, head, query]) @ k[row, group, key]) for key in keys])
        scores += 0 if inner is None else inner[row, head, query, keys]
        scores = scores if softcap is None else softcap * np.tanh(scores / softcap)
        scores += 0 if bias is None else bias[0, head, query, keys]
        powers = np.exp(scores)
        weights = powers / (powers.sum() + (0 if sinks is None else np.exp(np.float64(sinks[head]))))
        for weight, key in zip(weights, keys, strict=True):
            result[row, head, query] += weight * v[row, group, key]
            result[row, head, query] += 0 if table is None else weight * table[row, 0, query, key]
    return result


@pytest.mark.parametrize("softcap", [None, CAP])
@pytest.mark.parametrize("extras", [(), ("inner",), ("bias",), ("sinks",), ("table",)], ids="+".join)
def test_a_query_without_a_key_gets_nothing(extras, softcap):
    given = {name: array for name, array in arrays().items() if name not in EXTRAS or name in (*extras, "mask")}
    given["mask"][1, 0, 0] = given["mask"][0, 0, 2] = False

    def write(e, q, k, v, *, table=None, mask=None, **more):
        return [e.attention(q, k, v, mask=mask, value_table=table, scale=SCALE, softcap=softcap, keyless=True, **more)]

    expected = definition(**given, softcap=softcap)
    assert not expected[1, :, 0].any()
    found = run_both(write, given)
    assert {name: relative_error(results[0], expected) < 1e-6 for name, results in found.items()} == {
        "torch": True, "onnx": True,
    }  # fmt: skip


@pytest.mark.parametrize("softcap", [None, CAP])
@pytest.mark.parametrize("extras", [(), *((name,) for name in EXTRAS), EXTRAS], ids="+".join)
def test_as_defined_in_both(extras, softcap):
    given = {name: array for name, array in arrays().items() if name not in EXTRAS or name in extras}

    def write(e, q, k, v, *, table=None, mask=None, **more):
        return [e.attention(q, k, v, mask=mask, value_table=table, scale=SCALE, softcap=softcap, **more)]

    expected = definition(**given, softcap=softcap)
    found = run_both(write, given)
    assert {name: relative_error(results[0], expected) < 1e-6 for name, results in found.items()} == {
        "torch": True, "onnx": True,
    }  # fmt: skip
