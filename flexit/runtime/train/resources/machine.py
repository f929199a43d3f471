"""What a run is carried out with: versions, machine, command line, and the git commit of the working folder."""

from __future__ import annotations

import os
import platform
import shlex
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

import flexit

LIBRARIES = ("torch", "numpy", "onnxruntime", "tokenizers", "safetensors")
GIT_SECONDS = 10
"""What git is given to answer."""


def versions() -> dict[str, str | None]:
    """Of Python, flexit and the libraries that numbers depend on; None where one is not installed."""
    return {"python": platform.python_version(), "flexit": flexit.__version__, **{n: _version(n) for n in LIBRARIES}}


def machine(device: torch.device) -> dict[str, Any]:
    """Host, system, processor, memory, and what the run takes of them."""
    memory = psutil.virtual_memory()
    return {
        "host": socket.gethostname(), "system": platform.platform(), "processor": _processor(),
        "cores": os.cpu_count(), "memory": memory.total, "threads": torch.get_num_threads(), "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }  # fmt: skip


def command_line() -> str:
    """The command of this process, as it can be typed into a shell."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    return shlex.join([program if program != "__main__.py" else "flexit", *sys.argv[1:]])


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit of a folder, and whether tracked files of it have changes; None where there is no git or no commit."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit.strip(), "dirty": None if changes is None else bool(changes.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers; nothing of the folder's own configuration is run, and nothing is written."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=GIT_SECONDS, env=environment, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The name of the processor; Linux says it in a file alone."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
