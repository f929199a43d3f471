"""Opening and reading checkpoints runs nothing of them, imports nothing from them, and opens no socket."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.convert.sources.made import write_sharded, write_single
from tests.convert.sources.test_gguf import stored, write

WATCHED = """
import json, sys
from pathlib import Path
from flexit.convert.sources.finite import not_finite
from flexit.convert.sources.source import open_source
from flexit.errors import SourceError

def opened(place):
    source = open_source(place)
    not_finite(source.tensors)
    return len(source.tensors)

places, warm = sys.argv[1].split(","), sys.argv[2].split(",")
for place in warm:
    opened(place)

KINDS = ("import", "exec", "compile", "socket", "subprocess", "ctypes", "marshal", "pickle")
CALLS = ("os.system", "os.fork", "os.posix_spawn", "os.exec", "os.remove", "os.rename", "os.mkdir", "os.chmod")
events = []
def hook(event, args):
    if event == "open":
        events.append([event, str(args[0]), str(args[1]), args[2] & 3])
    elif event.split(".")[0] in KINDS or event in CALLS:
        events.append([event, str(args)[:200]])

sys.addaudithook(hook)
counts = [opened(place) for place in places]
try:
    opened(sys.argv[3])
except SourceError as error:
    counts.append(error.code)
seen = list(events)
print(json.dumps({"counts": counts, "events": seen}))
"""


def trapped(folder: Path) -> None:
    """Files that other loaders would run: modules named in the configuration or like those of the standard library."""
    classes = {"AutoConfig": "configuration_trap.Trap", "AutoModel": "modeling_trap.Trap"}
    config = {"model_type": "trap", "auto_map": classes, "architectures": ["Trap"]}
    (folder / "config.json").write_text(json.dumps(config))
    for name in (
        "configuration_trap",
        "modeling_trap",
        "__init__",
        "conftest",
        "sitecustomize",
        "json",
        "numpy",
        "gguf",
    ):
        (folder / f"{name}.py").write_text("open('created', 'w')")


@pytest.mark.slow
def test_what_happens_while_checkpoints_are_opened(tmp_path: Path) -> None:
    for parent in (tmp_path / "warm", tmp_path / "watched"):
        write_single(parent / "single")
        write_sharded(parent / "sharded")
        write(parent / "x.gguf", {"a": np.ones((2, 3), np.float32), "b": ("Q4_K", stored("Q4_K", (2, 256)))})
    for name in ("single", "sharded", "pickle"):
        (tmp_path / "watched" / name).mkdir(exist_ok=True)
        trapped(tmp_path / "watched" / name)
    (tmp_path / "watched" / "pickle" / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch created'\ntR.")

    def places(parent: str) -> str:
        return ",".join(str(tmp_path / parent / name) for name in ("single", "sharded", "x.gguf"))

    script = tmp_path / "script.py"
    script.write_text(WATCHED)
    folder = tmp_path / "watched" / "single"
    command = [sys.executable, str(script), places("watched"), places("warm"), str(tmp_path / "watched" / "pickle")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["counts"] == [8, 8, 2, "FX1819"]
    opens = [event for event in said["events"] if event[0] == "open"]
    assert [event for event in said["events"] if event[0] != "open"] == []
    by_name = [event for event in opens if not event[1].isdigit()]  # the others are files that are open already
    assert len(by_name) == 9
    assert all(Path(place).is_relative_to(tmp_path / "watched") for _, place, *_ in by_name)
    assert not any(place.endswith((".py", ".bin")) for _, place, *_ in opens)
    assert {mode for *_, mode, _ in opens} <= {"None", "r"}
    assert {access for *_, access in opens} == {0}  # reading
    assert not list(tmp_path.rglob("created"))
    shutil.rmtree(tmp_path / "watched")


def test_the_hook_of_this_test_sees_what_it_looks_for() -> None:
    code = WATCHED[WATCHED.index("KINDS =") : WATCHED.index("counts =")] + (
        "import colorsys, socket, subprocess, pickle\nsocket.socket()\nsubprocess.run(['true'])\n"
        "exec(compile('1', 'x', 'exec'))\npickle.loads(b'cposix\\ngetpid\\n.')\nprint({event[0] for event in events})"
    )
    done = subprocess.run([sys.executable, "-c", "import sys\n" + code], capture_output=True, text=True, check=True)
    for event in ("import", "exec", "compile", "socket.__new__", "subprocess.Popen", "pickle.find_class", "open"):
        assert f"'{event}'" in done.stdout
