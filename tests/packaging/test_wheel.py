"""What the wheel holds: the package with its types, presets and schemas, the command, and what it needs."""

import email.parser
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

import flexit

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from this tree, with the build backend of this environment if it has one."""
    out = tmp_path_factory.mktemp("dist")
    isolation = ["--no-isolation"] if find_spec("hatchling") else []
    command = [sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def names(folder: str, ending: str) -> set[str]:
    return {path.name for path in (ROOT / folder).rglob(f"*{ending}")}


@pytest.mark.slow
def test_it_holds_every_file_of_the_package(wheel):
    here = {
        str(path.relative_to(ROOT).as_posix())
        for path in (ROOT / "flexit").rglob("*")
        if path.is_file() and path.suffix in {".py", ".yaml", ".typed"}
    }
    assert here <= set(wheel.namelist())
    assert "flexit/py.typed" in here
    assert {f"flexit/schemas/{name}" for name in names("schemas", ".json")} <= set(wheel.namelist())


@pytest.mark.slow
def test_it_holds_nothing_else(wheel):
    strangers = [name for name in wheel.namelist() if not name.startswith(("flexit/", "flexit_ml-"))]
    assert strangers == []
    assert [name for name in wheel.namelist() if name.endswith((".pyc", ".tmp"))] == []


@pytest.mark.slow
def test_it_says_what_it_is(wheel):
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    said = email.parser.Parser().parsestr(wheel.read(metadata).decode())
    assert said["Version"] == flexit.__version__
    assert said["License-Expression"] == "MIT"
    assert set(said.get_all("Provides-Extra")) == {"hf", "train", "dev"}
    needed = {
        entry.partition(" ")[0].partition(">")[0] for entry in said.get_all("Requires-Dist") if "extra" not in entry
    }
    assert {"torch", "onnx", "onnxruntime", "pydantic", "ruamel-yaml", "typer"} <= {n.replace(".", "-") for n in needed}
    assert "# flexit" in said.get_payload()
    (entries,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "flexit = flexit.cli:main" in wheel.read(entries).decode()


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="flexit")
    assert command.value == "flexit.cli:main"
    assert callable(command.load())
