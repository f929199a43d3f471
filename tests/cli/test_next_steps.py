"""What commands print for the user to type or to paste, and what they make of names that are none."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from flexit.cli.app import run
from flexit.cli.generating import next_step
from flexit.ir.io.load import parse_spec
from flexit.ir.io.yaml import read_value
from flexit.runtime.bundles.bundle import read_bundle
from flexit.runtime.train.read import read_config
from tests.cli.test_nonsense import refused

VARIED = """
flexit: 1
name: varied
blocks:
  embed: {kind: embedding, vocab_size: 300, d_model: 16}
  decoder:
    kind: stack
    n_layers: 6
    layer:
      kind: transformer_layer
      norm: rms_norm
      norm_placement: pre
      attention: {kind: multi_head, n_heads: 2, rotary: {}, mask: {kind: causal, window: 4}}
      feed_forward: {kind: mlp, d_ff: 32}
    variants: {global: {attention: {mask: causal}}, wide: {feed_forward: {d_ff: 64}}}
    pattern: ["default*2", wide]
    layers: {"-2:": global, "0": [wide, global]}
    final_norm: true
  head: {kind: lm_head}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_shown_fields_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("varied.yaml").write_text(VARIED)
    assert run(["show", "varied.yaml"]) == 0
    lines = dict(re.findall(r"^  (layers|pattern): (.*)$", capsys.readouterr().out, re.MULTILINE))
    decoder = parse_spec(VARIED).blocks["decoder"]
    for name in ("layers", "pattern"):
        pasted = read_value(lines[name], "shown").plain()
        assert (
            pasted
            == getattr(decoder, name)
            == {"layers": {"-2:": "global", "0": ["wide", "global"]}}.get(name, ["default*2", "wide"])
        )


@pytest.mark.ort
def test_after_an_export_only_what_works_is_suggested(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, command in ((str(checkpoint), "generate"), ("tiny-bert-classifier", "verify"), ("tiny-llama", "verify")):
        out = f"a bundle of {Path(model).name}"
        assert run(["export", model, out]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        program, suggested, *arguments = shlex.split(last.partition(" with: ")[2])
        assert (program, suggested) == ("flexit", command)
        assert run([suggested, *arguments]) == 0


def test_an_encoder_needs_its_source(bundle: Path) -> None:
    found = read_bundle(bundle)
    entry = {"name": "encoder_ids", "group": "encoder", "role": "ids"}
    entry |= {name: None for name in found.manifest["interface"]["inputs"][0] if name not in entry}
    found.manifest["interface"]["inputs"].append(entry)
    assert next_step(found, "out") == "run it with: flexit generate out --source TEXT --prompt TEXT"
    found.manifest["interface"]["inputs"].append(entry | {"name": "other_ids", "group": "other"})
    assert next_step(found, "out").endswith("flexit verify out")


@pytest.mark.parametrize(
    ("written", "cure"),
    [
        ("multihead", "run flexit kinds multi_head"),
        ("rmsnorm", "run flexit kinds rms_norm"),
        ("head", "run flexit kinds lm_head"),
        ("attention", "run flexit kinds transformer_layer, which has a field of this name"),
        ("n_heads", "run flexit kinds multi_head, which has a field of this name"),
        ("swiglu", "run flexit kinds gated_mlp"),
        ("Rotarys", "run flexit kinds Rotary"),
        ("foo", "run flexit kinds, which says what each of them is"),
    ],
)
def test_the_kind_that_was_meant(written: str, cure: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kinds", written]) == 2
    told = capsys.readouterr().err
    assert f"do: {cure}\n" in told
    assert len(told.splitlines()) == 3 and len(told) < 300
    command = re.search(r"do: run flexit (kinds( \w+)?)", told)
    assert command is not None
    assert run(command[1].split()) == 0


@pytest.mark.parametrize("written", ["Rotary", "rotary"])
def test_a_group_of_fields_is_explained_like_a_kind(written: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["kinds", written]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Rotary (a group): ") and lines[1] == "  stands in multi_head.rotary and mla.rotary"
    assert "  theta: a number > 0; default 10000.0" in lines
    assert run(["kinds"]) == 0
    assert re.search(r"^\(group\) +Rotary ", capsys.readouterr().out, re.MULTILINE)


def test_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nothing_in_it.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("os", "json.tool", "nothing_in_it", "flexit.cli"):
        assert run(["check", "tiny-llama", "--plugin", module]) == 2
        told = capsys.readouterr().err
        assert "FX1108 plugin: no plugin: it has no kinds" in told
        assert "kind='acme:mine'" in told


@pytest.mark.parametrize("command", ["check", "show", "cost", "new", "train", "export", "verify", "generate"])
def test_an_empty_name_is_not_the_current_folder(
    command: str, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(bundle)
    assert refused(capsys, command, "", *(["../out"] if command == "export" else [])) == "FX0100"


def test_a_size_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    for size in ("0", "-1", "9" * 30):
        assert run(["check", "tiny-llama", "--max-bytes", size]) == 2
        assert "--max-bytes" in capsys.readouterr().err


def test_a_folder_with_more_than_specs(checkpoint: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run configs, and what flexit wrote beside a spec, are no mistakes; a spec that is wrong is one."""
    Path("varied.yaml").write_text(VARIED)
    Path("run.yaml").write_text("{flexit: 1, model: varied.yaml, task: causal_lm, out: x}")
    Path("saved").mkdir()
    for folder in (checkpoint, bundle):
        Path("saved", f"{folder.name}-copy").mkdir()
        for file in folder.iterdir():
            Path("saved", f"{folder.name}-copy", file.name).write_bytes(file.read_bytes())
    assert run(["check", ".", "--json"]) == 0
    told = capsys.readouterr()
    files = [entry["file"] for entry in json.loads(told.out)["files"]]
    assert files == ["varied.yaml"]
    assert "run.yaml: no spec but a run config" in told.err
    assert run(["check", "run.yaml"]) == 2
    Path("wrong.yaml").write_text("flexit: 1\nname: wrong\n")
    assert run(["check", "."]) == 2
    capsys.readouterr()
    assert refused(capsys, "check", "saved") == "FX1103"


def test_which_loss_is_shown(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.txt").write_text("some words to learn from, " * 400)
    data = "{train: {kind: text, files: [text.txt]}, seq_len: 16, tokenizer: bpe}"
    Path("run.yaml").write_text(
        f"{{flexit: 1, model: {json.dumps(str(checkpoint))}, task: causal_lm, data: {data}, batch: {{size: 2}},"
        " steps: 3, out: run}"
    )
    config, _ = read_config("run.yaml")
    assert config.steps == 3
    assert run(["train", "run.yaml"]) == 0
    told = capsys.readouterr()
    assert re.search(r"step 3/3  smoothed loss \d", told.err)
    assert re.search(r"loss of the last update \d", told.out)
    spoilt = Path("run/data/tokenizer.json")
    spoilt.write_text("{}")
    assert run(["train", "run.yaml", "--set", "steps=5", "--allow-changed"]) == 2
    found = re.search(r"FX1201: (.*) holds no encoded data[^$]*do: delete the folder", capsys.readouterr().err)
    assert found is not None
    for file in Path(found[1]).iterdir():
        file.unlink()
    Path(found[1]).rmdir()
    assert run(["train", "run.yaml"]) == 0
