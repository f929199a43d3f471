"""Pickles are read only when that is asked, in a process of their own, and what they would run is not run."""

from __future__ import annotations

import collections
import json
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from flexit.convert.sources import pickle as ours
from flexit.convert.sources.source import open_source
from flexit.convert.sources.unpickling import answer
from flexit.errors import SourceError
from tests.convert.sources.made import arrays, write_config

State = dict[str, torch.Tensor]


def state() -> State:
    made = {name: torch.from_numpy(array.copy()) for name, array in arrays().items() if array.dtype.kind in "fiub"}
    base = torch.arange(24.0).reshape(4, 6)
    return made | {
        "bf16": torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).bfloat16(), "base": base, "tied": base,
        "part": base[1:3, ::2], "turned": base.t(),
        "parameter": torch.nn.Parameter(torch.ones(2)), "expanded": torch.arange(3)[None].expand(1, -1),
    }  # fmt: skip


def save(folder: Path, content: Any, name: str = "pytorch_model.bin", **options: Any) -> Path:
    write_config(folder)
    torch.save(content, folder / name, **options)
    return folder


def refusal(folder: Path) -> SourceError:
    before = set(Path(tempfile.gettempdir()).glob("flexit-pickle-*"))
    with pytest.raises(SourceError) as caught:
        open_source(folder, allow_pickle=True)
    assert set(Path(tempfile.gettempdir()).glob("flexit-pickle-*")) == before
    return caught.value


def answered(folder: Path) -> dict[str, Any]:
    """What the loader's process would answer, without the process."""
    with (folder / "pytorch_model.bin").open("rb") as stream:
        size = (folder / "pytorch_model.bin").stat().st_size
        return answer({"file": stream.fileno(), "size": size, "out": str(folder / "made")})


class Creates:
    """Unpickled by a plain loader, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict(tmp_path: Path, zipped: bool) -> None:
    made = collections.OrderedDict(state())
    save(tmp_path, made, _use_new_zipfile_serialization=zipped)
    source = open_source(tmp_path, allow_pickle=True)
    assert set(source.tensors) == set(made)
    for name, tensor in made.items():
        found = source.tensors[name].torch()
        assert found.dtype == tensor.dtype
        assert found.shape == tensor.shape
        assert torch.equal(found.double(), tensor.detach().double())


@pytest.mark.slow
def test_shards(tmp_path: Path) -> None:
    made = state()
    names = list(made)
    for at in range(2):
        save(tmp_path, {name: made[name] for name in names[at::2]}, f"pytorch_model-{at}.bin")
    index = {"weight_map": {name: f"pytorch_model-{at % 2}.bin" for at, name in enumerate(names)}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    source = open_source(tmp_path, allow_pickle=True)
    assert list(source.tensors) == names
    assert torch.equal(source.tensors["turned"].torch(), made["turned"])
    (tmp_path / "pytorch_model-1.bin").unlink()
    assert refusal(tmp_path).code == "FX1816"


def test_it_has_to_be_asked_for(tmp_path: Path) -> None:
    save(tmp_path, {"a": torch.ones(2)})
    with pytest.raises(SourceError, match="--allow-pickle") as caught:
        open_source(tmp_path)
    assert caught.value.code == "FX1819"


@pytest.mark.slow
def test_safetensors_come_first(tmp_path: Path) -> None:
    from tests.convert.sources.made import write_single

    write_single(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Creates(tmp_path / "created")))
    assert "model.half" in open_source(tmp_path, allow_pickle=True).tensors
    assert not (tmp_path / "created").exists()


def malicious(folder: Path, how: str) -> None:
    creates = Creates(folder / "created")
    if how == "plain":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(creates, protocol=2))
    elif how == "within":
        save(folder, {"a": torch.ones(2), "b": {"c": [creates]}})
    elif how == "legacy":
        save(folder, {"a": creates}, _use_new_zipfile_serialization=False)
    else:
        save(folder, {"a": torch.ones(2)})
        with zipfile.ZipFile(folder / "pytorch_model.bin") as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, pickle.dumps(creates, protocol=2) if name.endswith("data.pkl") else data)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "swapped"])
def test_what_it_would_run_is_not_run(tmp_path: Path, how: str) -> None:
    write_config(tmp_path)
    malicious(tmp_path, how)
    error = refusal(tmp_path)
    assert error.code == "FX1826"
    assert "mkdir" in str(error)
    assert not (tmp_path / "created").exists()


def test_these_pickles_do_run_elsewhere(tmp_path: Path) -> None:
    """The same pickles, given to a plain loader, do what they are made for."""
    malicious(tmp_path, "plain")
    pickle.loads((tmp_path / "pytorch_model.bin").read_bytes())
    assert (tmp_path / "created").exists()


CONTENT: dict[str, Any] = {
    "a tensor": torch.ones(2),
    "a list": [torch.ones(2)],
    "dictionaries": {"model": {"a": torch.ones(2)}},
    "a number": {"a": torch.ones(2), "step": 3},
    "numbers as names": {1: torch.ones(2)},
    "sparse": {"a": torch.ones(2, 2).to_sparse()},
    "complex": {"a": torch.ones(2, dtype=torch.complex64)},
    "without numbers": {"a": torch.ones(2, device="meta")},
    "one number repeated": {"a": torch.ones(1).expand(2**40)},
}


@pytest.mark.parametrize("case", CONTENT)
def test_other_content(tmp_path: Path, case: str) -> None:
    assert answered(save(tmp_path, CONTENT[case]))["problem"] == "content"
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_content_that_is_refused_is_explained(tmp_path: Path) -> None:
    error = refusal(save(tmp_path, CONTENT["a number"]))
    assert error.code == "FX1827"
    assert "step: a int" in str(error)


def test_damaged(tmp_path: Path) -> None:
    whole = save(tmp_path, {"a": torch.ones(200)}).joinpath("pytorch_model.bin").read_bytes()
    for data in (b"", b"x" * 100, whole[:-300], whole[:50], b"\x80\x02."):
        (tmp_path / "pytorch_model.bin").write_bytes(data)
        assert answered(tmp_path)["problem"] == "content"


@pytest.mark.parametrize("how", ["plain", "within", "legacy", "swapped"])
def test_it_is_the_loader_that_refuses(tmp_path: Path, how: str) -> None:
    write_config(tmp_path)
    malicious(tmp_path, how)
    found = answered(tmp_path)
    assert found["problem"] == "code"
    assert "mkdir" in found["found"]
    assert not (tmp_path / "created").exists()


def test_other_protocols_are_refused(tmp_path: Path) -> None:
    write_config(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Creates(tmp_path / "created"), protocol=4))
    assert answered(tmp_path)["problem"] == "content"
    assert not (tmp_path / "created").exists()


@pytest.mark.slow
def test_memory_of_the_process_is_bounded() -> None:
    code = "from flexit.convert.sources.unpickling import bound; bound(2**20); bytearray(2**34)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("MemoryError")


@pytest.mark.slow
def test_it_is_stopped_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_START", 0)
    assert refusal(save(tmp_path, {"a": torch.ones(2)})).code == "FX1828"


def test_links_and_pipes_are_not_opened(tmp_path: Path) -> None:
    save(tmp_path / "real", {"a": torch.ones(2)})
    write_config(tmp_path)
    (tmp_path / "pytorch_model.bin").symlink_to("real/pytorch_model.bin")
    assert refusal(tmp_path).code == "FX1805"
    (tmp_path / "pytorch_model.bin").unlink()
    os.mkfifo(tmp_path / "pytorch_model.bin")
    assert refusal(tmp_path).code == "FX1806"


@pytest.mark.slow
def test_no_module_of_the_folder_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, {"a": torch.ones(2)})
    for name in ("torch", "numpy", "json", "flexit", "sitecustomize", "usercustomize", "pickle"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'created')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert open_source(".", allow_pickle=True).tensors["a"].numpy().tolist() == [1, 1]
    assert not (tmp_path / "created").exists()


@pytest.mark.slow
def test_the_process_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    seen: list[dict[str, str]] = []
    run = subprocess.run

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(options["env"])
        return run(*args, **options)

    monkeypatch.setattr(ours.subprocess, "run", watched)
    open_source(save(tmp_path, {"a": torch.ones(2)}), allow_pickle=True)
    assert len(seen) == 1
    assert set(seen[0]) <= {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH", "LANG", "HOME", "TMPDIR", "OMP_NUM_THREADS"}
    assert "secret" not in seen[0].values()


ACTS = {
    "a socket": "import socket; socket.socket()",
    "a name": "import socket; socket.getaddrinfo('localhost', 80)",
    "a shell": "import os; os.system('true')",
    "a copy": "import os; os.fork()",
    "a command": "import subprocess; subprocess.run(['true'])",
    "another program": "import os; os.execv('/bin/true', ['true'])",
    "a program beside": "import os; os.posix_spawn('/bin/true', ['true'], {})",
    "a library": "import ctypes; ctypes.CDLL(None)",
}


@pytest.mark.slow
def test_what_the_process_may_not_do() -> None:
    lines = [
        "import ctypes, os, socket, subprocess",
        "from flexit.convert.sources.unpickling import forbid",
        "forbid()",
    ]
    for name, act in ACTS.items():
        lines += ["try:", f"    {act}", f"    print({name!r})", "except PermissionError:", "    pass"]
    code = "\n".join([*lines, "print('end')"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["end", ""]
