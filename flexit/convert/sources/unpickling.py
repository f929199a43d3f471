"""The process that reads a pickle: it bounds and isolates itself, then loads tensors and writes them as safetensors.

It is started by ``pickle.py`` with a request, and answers with one line of JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pickle
import resource
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flexit.errors import UserError
from flexit.files.safetensors import DTYPES, write_safetensors

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip

_FORBIDDEN = (
    "socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.", "ctypes.",
)  # fmt: skip
"""What this process has no reason to do, by the beginnings of its audit events."""
_CALLS = ("GLOBAL", "instantiate", "reduce", "build")
"""Words of the loader's refusals that are about classes and functions."""
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_ROOM = 4 * 2**30


class Unfit(Exception):
    """What the pickle holds is not tensors, or not such as can be written."""


def main() -> None:
    """Read the request, answer on the standard output."""
    request = json.loads(sys.argv[1])
    bound(request["size"])
    isolate()
    forbid()
    print(json.dumps(answer(request)))


def bound(size: int) -> None:
    """No more memory than a file of so many bytes has need of, and no dump of it."""
    for what, most in ((resource.RLIMIT_DATA, _ROOM + 4 * size), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):  # not every system has every bound
            resource.setrlimit(what, (most, most))


def isolate() -> None:
    """Leave the network behind, where the system lets a process do so."""
    with contextlib.suppress(OSError, AttributeError):
        flags = _NEW_NETWORK if os.geteuid() == 0 else _NEW_NETWORK | _NEW_USER
        ctypes.CDLL(None).unshare(flags)


def forbid() -> None:
    """From here on no socket and no other process, whoever asks for it."""

    def hook(event: str, _: Any) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event} while a pickle is read")

    sys.addaudithook(hook)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Write the tensors of the open ``file`` of ``size`` bytes to ``out``; the problem, if any, and what was found."""
    try:
        tensors = _load(f"/dev/fd/{request['file']}", request["size"])
        write_safetensors(Path(request["out"]), tensors)
    except pickle.UnpicklingError as error:
        return {"problem": "code" if any(word in str(error) for word in _CALLS) else "content", "found": _said(error)}
    except MemoryError:
        return {"problem": "stopped", "found": "more memory than that"}
    except UserError as error:
        return {"problem": "stopped", "found": error.problems[0].found}
    except Exception as error:
        return {"problem": "content", "found": _said(error)}
    return {"problem": None, "found": ""}


def _said(error: Exception) -> str:
    """The line of a message that says what was found."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "nsupported" in line or any(word in line for word in _CALLS)]
    return (telling or lines or [type(error).__name__])[0][:200]


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor as the writer takes it."""

    value: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def dtype(self) -> str:
        return NAMES[self.value.dtype]

    def numpy(self) -> Any:
        value = self.value.detach().resolve_neg().contiguous()
        if value.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
            raw = value.view(torch.int16 if value.element_size() == 2 else torch.uint8)
            return raw.numpy().view(DTYPES[self.dtype])
        return value.numpy()


def _load(path: str, size: int) -> dict[str, _Tensor]:
    """The tensors of a pickle by name, on a mapped file where it is a zip archive.

    Raises:
        Unfit: it holds something else.
    """
    with open(path, "rb") as stream:
        is_zip = stream.read(4) == b"PK\x03\x04"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    if not isinstance(loaded, dict):
        raise Unfit(f"a {type(loaded).__name__}")
    tensors = {name: _fit(name, value) for name, value in loaded.items()}
    total = sum(tensor.value.nbytes for tensor in tensors.values())
    if total > 4 * size + 2**20:  # one storage may be many tensors, but not any number of them
        raise Unfit(f"{total:,} bytes of tensors in a file of {size:,}")
    return tensors


def _fit(name: Any, value: Any) -> _Tensor:
    if not isinstance(name, str) or not isinstance(value, torch.Tensor):
        raise Unfit(f"{str(name)[:60]}: a {type(value).__name__}")
    if value.layout != torch.strided or value.device.type != "cpu" or value.dtype not in NAMES or value.is_quantized:
        raise Unfit(f"{name[:60]}: {value.dtype}, {value.layout}, {value.device.type}")
    return _Tensor(value)
