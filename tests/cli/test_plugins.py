"""A plugin is imported where the user's own spec names its kind or --plugin names it, never by what is opened."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import save_file

from flexit.cli.app import run
from flexit.errors import SpecError
from flexit.ir import registry
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.bundles.export import export
from flexit.runtime.train.describe import spec_json

PLUGIN = '''
"""A feed-forward of one matrix; importing it leaves a trace."""

from pathlib import Path

from flexit.ir.block import FeedForward

(Path(__file__).parent / "imported").touch()


class Single(FeedForward, kind="acme:single"):
    """A square matrix."""

    def expand(self, e, x):
        return x.of(e.linear(x.x, x.width, "matrix"))
'''
SPEC = """
flexit: 1
name: with-plugin
blocks:
  embed: {kind: embedding, vocab_size: 260, d_model: 16}
  decoder:
    kind: stack
    n_layers: 1
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 2, rotary: {}, mask: causal}
      feed_forward: {kind: "acme:single"}
    final_norm: true
  head: {kind: lm_head}
"""
RUN = """
flexit: 1
model: {model}
task: causal_lm
data: {{train: {{kind: text, files: ["*.txt"]}}, seq_len: 8, tokenizer: bpe}}
steps: 1
out: run
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, one of them with a kind; the current folder is elsewhere."""
    folder = tmp_path / "site"
    (folder / "acme-1.0.dist-info").mkdir(parents=True)
    (folder / "acme_blocks.py").write_text(PLUGIN)
    (folder / "acme-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    entry = "[flexit.blocks]\nacme:single = acme_blocks:Single\n"
    (folder / "acme-1.0.dist-info" / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(str(folder))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work" / "spec.yaml").write_text(SPEC)
    yield folder
    forget(folder)


def forget(site: Path) -> None:
    registry.forget("Block", "acme:single")
    sys.modules.pop("acme_blocks", None)
    (site / "imported").unlink(missing_ok=True)


def imported(site: Path) -> bool:
    """Whether the plugin has been imported; then it is as if it had not."""
    found = (site / "imported").exists()
    forget(site)
    return found


@pytest.fixture
def saved(site: Path, checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint and a bundle of a model with the kind, as somebody else may send them."""
    module = to_torch(load_spec(tmp_path / "work" / "spec.yaml"))
    folder = tmp_path / "saved"
    shutil.copytree(checkpoint, folder / "checkpoint")
    (folder / "checkpoint" / "spec.json").write_text(spec_json(module.spec))
    save_file({n: value.detach() for n, value in module.named_parameters()}, folder / "checkpoint/model.safetensors")
    export(folder / "checkpoint", folder / "bundle")
    assert imported(site)
    return folder


@pytest.mark.parametrize("command", ["check", "show", "cost"])
def test_a_spec_of_the_users_imports_what_it_names(command: str, site: Path) -> None:
    assert run([command, "spec.yaml"]) == 0
    assert imported(site)
    assert run([command, "tiny-llama"]) == 0
    assert not imported(site)


@pytest.mark.ort
def test_a_bundle_imports_nothing_and_needs_nothing(saved: Path, site: Path) -> None:
    assert run(["verify", str(saved / "bundle")]) == 0
    assert run(["generate", str(saved / "bundle"), "--prompt", "def", "--max-new-tokens", "2"]) == 0
    assert not imported(site)


def generating(saved: Path) -> list[str]:
    return ["generate", str(saved / "checkpoint"), "--prompt", "def", "--max-new-tokens", "2"]


def exporting(saved: Path) -> list[str]:
    return ["export", str(saved / "checkpoint"), "out"]


def training(saved: Path) -> list[str]:
    Path("run.yaml").write_text(RUN.format(model=json.dumps(str(saved / "checkpoint"))))
    Path("text.txt").write_text("some words to learn from, " * 200)
    return ["train", "run.yaml"]


@pytest.mark.slow
@pytest.mark.ort
@pytest.mark.parametrize("name", ["acme", "acme_blocks"])
@pytest.mark.parametrize("arguments", [generating, exporting, training])
def test_a_checkpoint_imports_nothing_unless_it_is_named(
    arguments: Callable[[Path], list[str]], name: str, saved: Path, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = arguments(saved)
    assert run(command) == 2
    assert not imported(site)
    told = capsys.readouterr().err
    assert "FX0203" in told
    assert "load the plugin that has it: --plugin acme" in told
    assert run([*command, "--plugin", name]) == 0
    assert imported(site)


def test_in_python_too(saved: Path, site: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="acme:single"):
        export(saved / "checkpoint", tmp_path / "out")
    assert not imported(site)


def test_a_plugin_that_fails(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "acme_blocks.py").write_text("raise RuntimeError('[/x] my mistake')")
    for name in ("acme", "acme_blocks", "no_such", "", ".", "../x", "os.path.x"):
        assert run(["check", "spec.yaml", "--plugin", name]) == 2
        assert "FX1108" in capsys.readouterr().err
