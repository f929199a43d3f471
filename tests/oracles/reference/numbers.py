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


def activate(run, name, x, path):
    """One of the closed list, element by element; null changes nothing. ``xielu`` has two scalars below ``path``."""
    if name is None:
        return x
    function = ACTIVATIONS[name] if name != "xielu" else xielu(run, path)
    return np.vectorize(function, otypes=[np.float64])(x)


def xielu(run, path):
    """p x^2 + x/2 for x > 0, else n (e^min(x, -1e-6) - 1 - x) + x/2, where p and n come from a log(1 + e^alpha)."""
    alpha_p, alpha_n = (run.weight(f"{path}.alpha_{side}", (1,))[0] for side in "pn")
    p, n = math.log1p(math.exp(alpha_p)), 0.5 + math.log1p(math.exp(alpha_n))
    return lambda x: x / 2 + (p * x**2 if x > 0 else n * (math.expm1(min(x, -1e-6)) - x))


def softmax(row):
    """Of a vector."""
    shifted = np.exp(np.asarray(row) - max(row))
    return shifted / shifted.sum()


def normed(run, norm: Fields, path, x):
    """``layer_norm``, ``rms_norm`` or ``std_norm`` of every row of the last axis."""
    if norm.kind == "std_norm":
        return standardised(run, norm, path, x)
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


def standardised(run, norm, path, x):
    """(x - mean) / (std + eps) * gain + bias; the squares are divided by one less than there are numbers."""
    eps, width = norm.get("eps", 1e-6), x.shape[-1]
    norm.aside("init")
    result = np.array([(row - row.mean()) / (row.std(ddof=1) + eps) for row in x.reshape(-1, width)])
    result = result * run.weight(f"{path}.weight", (width,)) + run.weight(f"{path}.bias", (width,))
    return result.reshape(x.shape)


def linear(run, path, x, *, d_out, bias):
    """``x W^T + b``."""
    y = np.einsum("...i,oi->...o", x, run.weight(f"{path}.weight", (d_out, x.shape[-1])))
    return y + run.weight(f"{path}.bias", (d_out,)) if bias else y
