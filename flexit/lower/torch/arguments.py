"""Arguments of ``to_torch`` as PyTorch knows them, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index

import torch
from torch import Tensor

from flexit.errors import UserError
from flexit.lower.real import real_array

FX = "FX2007"


def floating(dtype: object) -> torch.dtype:
    """The dtype of parameters, fp32 by default.

    Raises:
        UserError: FX2007, it is none of real numbers.
    """
    if dtype is None:
        return torch.float32
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point or dtype.itemsize < 2:
        raise UserError.of(
            FX, "dtype cannot be used", path="dtype", found=str(dtype), cure="leave dtype out, or take one of these",
            expected="torch.float32, torch.float64, torch.bfloat16 or torch.float16",
        )  # fmt: skip
    return dtype


def placed(device: object) -> torch.device:
    """The device of parameters, the CPU by default.

    Raises:
        UserError: FX2007, it names none; FX1702, it is not on this machine.
    """
    try:
        found = torch.device("cpu" if device is None else device)  # pyright: ignore[reportArgumentType, reportCallIssue]
    except (RuntimeError, TypeError) as error:
        raise UserError.of(
            FX, "device cannot be used", path="device", expected="a device such as cpu, cuda or cuda:1",
            found=str(device), cure="leave device out for the CPU",
        ) from error  # fmt: skip
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError.of(
            "FX1702", f"this machine has no {found}", path="device", expected="a device that is here",
            found=str(error).partition("\n")[0], cure="leave device out for the CPU",
        ) from error  # fmt: skip
    return found


def whole(seed: object) -> int:
    """A seed as an integer.

    Raises:
        UserError: FX2007, it is none.
    """
    try:
        return index(seed)  # pyright: ignore[reportArgumentType]
    except TypeError:
        raise UserError.of(
            FX, "seed cannot be used", path="seed", expected="an integer", found=repr(seed)[:60], cure="give an integer"
        ) from None


def natural(seed: object) -> int:
    """A seed as an integer from 0 on, which NumPy's generators want.

    Raises:
        UserError: FX2007, it is none.
    """
    number = whole(seed)
    if number < 0:
        raise UserError.of(
            FX, "seed cannot be used", path="seed", expected="an integer from 0 on", found=str(number),
            cure="give one that is not negative",
        )  # fmt: skip
    return number


def require_mapping(weights: object) -> None:
    """Refuse weights that have no paths.

    Raises:
        UserError: FX2007, they are no mapping.
    """
    if weights is not None and not isinstance(weights, Mapping):
        raise UserError.of(
            FX, "weights cannot be used", path="weights", expected="a mapping from paths to arrays",
            found=f"a {type(weights).__name__}", cure="give a state_dict, or what safetensors.torch.load_file returns",
        )  # fmt: skip


def tensor_of(path: str, value: object) -> Tensor:
    """A parameter's values as a tensor of real numbers.

    Raises:
        UserError: FX2002, they are none.
    """
    if callable(torch_of := getattr(value, "torch", None)) and not isinstance(value, Tensor):
        value = torch_of()  # a lazy tensor of an imported model, which numpy alone would not read in bf16
    if isinstance(value, Tensor) and not (value.is_complex() or value.is_meta or value.dtype == torch.bool):
        return value
    array = real_array(path, value)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
