"""Files that go into a bundle are read before anything lasts, and are those of the model."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from flexit.cli.app import run
from flexit.errors import UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.bundles.carrying import carriable
from flexit.runtime.bundles.export import export
from flexit.runtime.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def model() -> FlexitModule:
    return to_torch(load_spec("tiny-llama", sets=["blocks.embed.vocab_size=300"]), seed=0)


def refused(folder: Path, model: FlexitModule, **files: str) -> str:
    """The code with which files of these texts are refused; nothing lasts and nothing is left."""
    paths = [folder / name.replace("__", ".") for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        export(model, folder / "out", carry=paths)
    assert time.process_time() - began < 2
    assert not (folder / "out").exists()
    return caught.value.code


def test_files_that_are_none_of_their_kind(tmp_path: Path, model: FlexitModule) -> None:
    for text in ("{", "{}", "[]", "\x00"):
        assert refused(tmp_path, model, tokenizer__json=text) == "FX1604"
    for text in ("{", "[]", '["a", 1]', '["a", "a"]', '{"a": 1}'):
        assert refused(tmp_path, model, labels__json=text) == "FX2102"
    for text in ("{", "[]", '{"eos_token_id": "a"}', '{"temperature": -1}'):
        assert refused(tmp_path, model, generation_config__json=text) == "FX1109"


def test_files_of_another_model(tmp_path: Path, model: FlexitModule) -> None:
    words = [" ".join(f"word{number}x{number * 7}" for number in range(900))]
    assert refused(tmp_path, model, tokenizer__json=Tokenizer.train(words, vocab_size=301).dumps()) == "FX1502"
    assert refused(tmp_path, model, labels__json='["negative", "positive"]') == "FX2102"
    for ids in ({"eos_token_id": 300}, {"eos_token_id": [1, 999]}, {"bos_token_id": 300}, {"pad_token_id": 301}):
        assert refused(tmp_path, model, generation_config__json=json.dumps(ids)) == "FX1109"


@pytest.mark.parametrize("carry", [5, "tokenizer.json", b"x", [5], [None], ["\0"], ["spec.json"], [["labels.json"]]])
def test_what_is_no_list_of_files(carry: Any) -> None:
    with pytest.raises(UserError, match="carry cannot be used") as caught:
        carriable(carry)
    assert caught.value.code == "FX2007"


def test_a_target_is_refused_before_the_model_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    monkeypatch.setattr("flexit.cli.opening.exportable", None)
    assert run(["export", "tiny-llama", str(tmp_path / "mine"), "--force"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("FX1302") and "notes.txt" in told
    assert run(["export", "tiny-llama", str(tmp_path / "new"), "--carry", str(tmp_path / "labels.json")]) == 2
    assert capsys.readouterr().err.startswith("FX2007")
    shutil.rmtree(tmp_path / "mine")
