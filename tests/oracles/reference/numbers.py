"""Functions of numbers and rows, in float64, from their formulas."""

import math

import numpy as np

from tests.oracles.reference.fields import Fields

ACTIVATIONS = {
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "gelu": lambda x: x * 0.5 * (1.0 + math.erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x: 0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x / (1.0 + math.exp(-1.702 * x)),
    "silu": lambda x: x / (1.0 + math.exp(-x)),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + math.exp(-x)),
    "identity": lambda x: x,
}


def activate(name, x):
    """One of the closed list, element by element; null changes nothing."""
    return x if name is None else np.vectorize(ACTIVATIONS[name], otypes=[np.float64])(x)


def softmax(row):
    """Of a vector."""
    shifted = np.exp(np.asarray(row) - max(row))
    return shifted / shifted.sum()


def normed(run, norm: Fields, path, x):
    """``layer_norm`` or ``rms_norm`` of every row of the last axis."""
    gain, offset = norm.get("gain", True), norm.get("gain_offset", 0.0)
    if norm.kind == "layer_norm":
        eps, bias = norm.get("eps", 1e-5), norm.get("bias", True)
    else:
        eps, bias = norm.get("eps", 1e-6), False
        norm.aside("fp32_gain")  # differs below fp32 only
    norm.aside("init")
    rows = x.reshape(-1, x.shape[-1])
    result = np.empty_like(rows)
    for index, row in enumerate(rows):
        centred = row - row.sum() / row.size if norm.kind == "layer_norm" else row
        result[index] = centred / math.sqrt((centred**2).sum() / row.size + eps)
    if gain == "scalar":
        result = result * (run.weight(f"{path}.weight", (1,))[0] + offset)
    elif gain:
        result = result * (run.weight(f"{path}.weight", (x.shape[-1],)) + offset)
    if bias:
        result = result + run.weight(f"{path}.bias", (x.shape[-1],))
    return result.reshape(x.shape)


def linear(run, path, x, *, d_out, bias):
    """``x W^T + b``."""
    y = np.einsum("...i,oi->...o", x, run.weight(f"{path}.weight", (d_out, x.shape[-1])))
    return y + run.weight(f"{path}.bias", (d_out,)) if bias else y
