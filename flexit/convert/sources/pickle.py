"""Pickles of PyTorch, read by its weights-only loader in a process of its own, which leaves a safetensors file.

The process gets no variables of the environment, no network, and bounds on memory and time. What it writes is opened
like any other file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flexit.convert.sources.inside import open_file
from flexit.convert.sources.safetensors import read_safetensors
from flexit.convert.tensors import LazyTensor
from flexit.errors import SourceError
from flexit.ir.wording import cut

_START, _BYTES_PER_SECOND = 120, 10_000_000
"""What the process may take: seconds in any case, and bytes in a second beyond that."""
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH", "LANG")
"""Variables without which PyTorch may not load."""
_CODE = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from flexit.convert.sources.unpickling import main
main()
"""


def read_pickle(folder: Path, name: str) -> dict[str, LazyTensor]:
    """The tensors of a PyTorch pickle of the folder, without running what it says.

    They are written into a temporary file, which has no name any more when this returns, and is gone with the last of
    them.

    Raises:
        SourceError: FX1805 to FX1807 it cannot be opened; FX1826 it would run code; FX1827 it is damaged or holds
            something else than tensors; FX1828 the process was stopped.
    """
    path = folder / name
    with open_file(folder, name) as stream, TemporaryDirectory(prefix="flexit-pickle-") as made:
        size = os.fstat(stream.fileno()).st_size
        request = {"file": stream.fileno(), "out": str(Path(made) / "model.safetensors"), "size": size}
        answer = _ask(request, path, folder=Path(made), seconds=_START + size // _BYTES_PER_SECOND)
        if answer["problem"] is not None:
            raise _refused(path, answer["problem"], answer["found"])
        return read_safetensors(Path(made), "model.safetensors")


def _ask(request: dict[str, Any], path: Path, *, folder: Path, seconds: int) -> dict[str, Any]:
    """Run the loader in a new interpreter, and give its answer."""
    places = [place for place in sys.path if os.path.isabs(place)]
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CODE, json.dumps(request), json.dumps(places)], cwd=folder,
            env={**kept, "HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
            pass_fds=[request["file"]], stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _refused(path, "stopped", f"no end after {seconds} seconds") from None
    try:
        return json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise _refused(path, "stopped", cut(f"exit status {done.returncode}: {''.join(last)}")) from None


def _refused(path: Path, problem: str, found: str) -> SourceError:
    code, message, expected, cure = {
        "code": ("FX1826", "would run code", "tensors, and what PyTorch needs to make them",
                 "do not load it otherwise unless you trust whoever wrote it; get the checkpoint as safetensors"),
        "content": ("FX1827", "is no dictionary of tensors that can be read", "names and dense tensors, as torch.save "
                    "writes a state_dict", "copy the file anew, or get the checkpoint as safetensors"),
        "stopped": ("FX1828", "could not be read within its bounds", "a file whose tensors take about as much memory "
                    "as it is large", "free memory and disk space; get the checkpoint as safetensors"),
    }[problem]  # fmt: skip
    return SourceError.of(code, f"{path} {message}", expected=expected, found=found, cure=cure)
