"""A checkpoint of a gigabyte is opened and written anew in the memory of one tensor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from tests.convert.sources.made import write_config, write_index, write_raw

SCRIPT = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
from flexit.convert.sources.finite import not_finite
from flexit.convert.sources.source import open_source
from flexit.files.safetensors import write_sharded

def anonymous():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) * 1024

before, most, going = anonymous(), 0, True
def watch():
    global most
    while going:
        most = max(most, anonymous())
        time.sleep(0.002)

thread = threading.Thread(target=watch)
thread.start()
source = open_source(sys.argv[1])
opened = anonymous() - before
bad = not_finite(source.tensors)
tensors = dict(source.tensors)
tensors["turned"] = tensors["layer.3"].then((4096, 4096), lambda array: array.T)
out = Path(sys.argv[2])
out.mkdir()
done = []
write_sharded(out, tensors, max_bytes=3 * 10**8, progress=lambda at, total: done.append((at, total)))
streamed = most - before
equal = 0
again = open_source(sys.argv[2]) if (out / "config.json").write_text("{}") else None
for name, tensor in tensors.items():
    ours, theirs = tensor.numpy(), again.tensors[name].numpy()
    equal += all(np.array_equal(ours[at : at + 256], theirs[at : at + 256]) for at in range(0, 4096, 256))
going = False
thread.join()
print(json.dumps({"opened": opened, "streamed": streamed, "most": most - before, "equal": equal, "bad": bad,
                  "last": done[-1], "pieces": len(done)}))
"""
N_TENSORS, NBYTES = 16, 4096 * 4096 * 4


def write_large(folder: Path) -> None:
    """Sixteen tensors of 64 MiB in four shards; all but their diagonals are holes of the files."""
    write_config(folder)
    places: dict[str, str] = {}
    for shard in range(4):
        names = [f"layer.{shard * 4 + at}" for at in range(4)]
        path = folder / f"model-{shard + 1}.safetensors"
        header = {
            name: {"dtype": "F32", "shape": [4096, 4096], "data_offsets": [at * NBYTES, (at + 1) * NBYTES]}
            for at, name in enumerate(names)
        }
        write_raw(path, header)
        start = path.stat().st_size
        with path.open("r+b") as file:
            file.truncate(start + 4 * NBYTES)
            for at, name in enumerate(names):
                for row in range(0, 4096, 64):
                    file.seek(start + at * NBYTES + row * 4097 * 4)
                    file.write(np.float32(row + int(name.split(".")[1]) / 16).tobytes())
        places |= dict.fromkeys(names, path.name)
    write_index(folder, places)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured by Linux's own count")
def test_a_gigabyte_in_the_memory_of_a_tensor() -> None:
    with TemporaryDirectory(prefix="flexit-large-") as parent:
        write_large(Path(parent) / "model")
        command = [sys.executable, "-c", SCRIPT, str(Path(parent) / "model"), str(Path(parent) / "made")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = json.loads(done.stdout)
        print(said)
    assert said["equal"] == N_TENSORS + 1
    assert said["bad"] == []
    assert said["last"] == [(N_TENSORS + 1) * NBYTES] * 2
    assert said["pieces"] == (N_TENSORS + 1) * 4
    assert said["opened"] < 10 * 2**20
    assert said["streamed"] < NBYTES + 60 * 2**20
    assert said["most"] < 300 * 2**20
