"""Numbers in whatever form they came, and weights as both backends take them: real, of a kind that fp32 holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from flexit.errors import UserError

Array = np.ndarray[Any, np.dtype[Any]]


def real_array(path: str, value: Any) -> Array:
    """A parameter's values as an array in the machine's byte order; what is fp32 already is not copied.

    Args:
        path: of the parameter, for messages.
        value: an array (bf16 and other kinds that numpy was taught too), a tensor, or nested lists of numbers.

    Raises:
        UserError: FX2002, they are no real numbers.
    """
    try:
        array = np.asarray(on_cpu(value))
    except (ValueError, TypeError) as error:  # rows of several lengths, or nothing that numpy knows
        raise _no_numbers(path, str(error)) from error
    if is_narrow(array):
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf":
        raise _no_numbers(path, str(array.dtype))
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def is_narrow(array: Array) -> bool:
    """Whether the numbers are of a kind that numpy was taught (bf16, fp8) and fp32 holds."""
    return array.dtype.kind == "V" and array.dtype.names is None and np.can_cast(array.dtype, np.float32)


def on_cpu(value: Any) -> Any:
    """A tensor as an array, bf16 and the like as fp32, and all else as it is; PyTorch need not be installed for it.

    Raises:
        TypeError: it has no numbers.
    """
    if not hasattr(value, "detach"):
        return value
    if getattr(value, "is_meta", False):
        raise TypeError("a tensor on the meta device, which has no numbers")
    tensor = value.detach().cpu()
    narrow = tensor.is_floating_point() and tensor.dtype.itemsize < 4
    return (tensor.float() if narrow else tensor).numpy()


def _no_numbers(path: str, found: str) -> UserError:
    return UserError.of(
        "FX2002", "holds no real numbers", path=path, expected="an array of real numbers", found=found,
        cure="give exactly the parameters of the spec, under their paths",
    )  # fmt: skip
