"""What opens, what does not, and why: folders, cached ids, live models, configurations."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest

from flexit.convert.sources.source import open_source
from flexit.errors import SourceError
from tests.convert.sources.made import CONFIG, same, write_config, write_sharded, write_single


def code_of(given: object) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(given)
    problem = caught.value.problems[0]
    assert problem.message
    assert problem.expected
    assert problem.found
    assert problem.cure
    return caught.value.code


@pytest.mark.parametrize("write", [write_single, write_sharded])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder(tmp_path: Path, write, kind) -> None:
    made = write(tmp_path)
    source = open_source(kind(tmp_path))
    assert source.config == CONFIG
    assert source.folder == tmp_path
    assert source.place == str(tmp_path)
    assert set(source.tensors) == set(made)
    assert all(same(source.tensors[name].numpy(), array) for name, array in made.items())


def test_tensors_in_torch(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    write_single(tmp_path)
    source = open_source(tmp_path)
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        ours = source.tensors[name].torch()
        assert ours.dtype == tensor.dtype
        assert ours.equal(tensor)


@pytest.mark.parametrize("given", [None, 5, object(), b"x", "", "no/such", "nothing here", "a\0b", "x" * 5000, "../.."])
def test_nothing_to_open(given: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of(given) in ("FX1801", "FX1802")


def test_a_file_that_is_no_checkpoint(tmp_path: Path) -> None:
    write_single(tmp_path)
    assert code_of(tmp_path / "config.json") == "FX1801"


def test_no_configuration(tmp_path: Path) -> None:
    write_single(tmp_path)
    (tmp_path / "config.json").unlink()
    assert code_of(tmp_path) == "FX1802"


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"5", b"\xff", b'{"a": NaN}', b'{"a": [-Infinity]}', b'{"a": 1e999}', b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 2}}', b'{"a": "\\ud800"}', b"{}{}", b'{"a":' * 100_000, b"9" * 5000,
        b'{"a": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_a_configuration_that_is_none(tmp_path: Path, text: bytes) -> None:
    write_single(tmp_path)
    (tmp_path / "config.json").write_bytes(text)
    assert code_of(tmp_path) == "FX1803"


def test_a_configuration_that_is_too_large(tmp_path: Path) -> None:
    write_single(tmp_path)
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(2**40)
    assert code_of(tmp_path) == "FX1804"


def test_escaped_texts_are_texts(tmp_path: Path) -> None:
    write_single(tmp_path)
    (tmp_path / "config.json").write_text('{"name": "\\ud83d\\ude00 \\u00e9", "one": 1.0}')
    assert open_source(tmp_path).config == {"name": "\U0001f600 \u00e9", "one": 1.0}


def test_no_weights(tmp_path: Path) -> None:
    write_config(tmp_path)
    assert code_of(tmp_path) == "FX1808"


@pytest.mark.parametrize("file", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_pickle_is_not_opened(tmp_path: Path, file: str) -> None:
    write_config(tmp_path)
    (tmp_path / file).write_bytes(b"")
    assert code_of(tmp_path) == "FX1819"


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, file: str) -> None:
    for make, name in ((os.mkfifo, "pipe"), (os.mkdir, "folder")):
        write_single(tmp_path / name)
        (tmp_path / name / file).unlink()
        make(tmp_path / name / file)
        assert code_of(tmp_path / name) == "FX1806"


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("target", ["../elsewhere/{}", "{}.real", "/etc/passwd", "nowhere", "{}"])
def test_links_are_not_followed(tmp_path: Path, file: str, target: str) -> None:
    write_single(tmp_path / "elsewhere")
    write_single(tmp_path / "model")
    (tmp_path / "model" / file).rename(tmp_path / "model" / f"{file}.real")
    (tmp_path / "model" / file).symlink_to(target.format(file))
    assert code_of(tmp_path / "model") == "FX1805"


def hub_cache(cache: Path, repository: str = "models--org--name") -> Path:
    """A cache as the hub's client makes it: a snapshot whose files are links to blobs."""
    write_single(cache / "plain")
    snapshot = cache / repository / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    for folder in ("blobs", "refs"):
        (cache / repository / folder).mkdir()
    (cache / repository / "refs" / "main").write_text("abc123")
    for at, name in enumerate(("config.json", "model.safetensors")):
        (cache / "plain" / name).rename(cache / repository / "blobs" / f"{at:040x}")
        (snapshot / name).symlink_to(f"../../blobs/{at:040x}")
    return snapshot


def test_links_of_a_hub_cache_are_followed(tmp_path: Path) -> None:
    source = open_source(hub_cache(tmp_path))
    assert source.config == CONFIG
    assert source.tensors["model.bytes"].numpy().tolist() == [0, 1, 2]
    (tmp_path / "short").symlink_to(tmp_path / "models--org--name" / "snapshots" / "abc123")
    assert open_source(tmp_path / "short").config == CONFIG


@pytest.mark.parametrize(
    "target",
    [
        "../../../models--org--other/blobs/{}", "../../refs/main", "/etc/passwd", "{}", "../../blobs/deeper/{}",
        "../../blobs/../../models--org--other/blobs/{}",
    ],
)  # fmt: skip
def test_other_links_in_a_hub_cache_are_not(tmp_path: Path, target: str) -> None:
    snapshot = hub_cache(tmp_path)
    blob = snapshot / (snapshot / "config.json").readlink()
    for other in (tmp_path / "models--org--other" / "blobs", blob.parent / "deeper"):
        other.mkdir(parents=True)
        (other / blob.name).write_bytes(blob.read_bytes())
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(target.format(blob.name))
    assert code_of(snapshot) == "FX1805"


def test_blobs_that_are_links_are_not(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    blob = snapshot / (snapshot / "config.json").readlink()
    blob.rename(tmp_path / "outside")
    blob.symlink_to(tmp_path / "outside")
    assert code_of(snapshot) == "FX1805"


def test_a_folder_of_blobs_that_is_a_link_is_not(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    blobs = tmp_path / "models--org--name" / "blobs"
    blobs.rename(tmp_path / "outside")
    blobs.symlink_to(tmp_path / "outside")
    assert code_of(snapshot) == "FX1805"


def test_a_cache_of_another_name_is_none(tmp_path: Path) -> None:
    assert code_of(hub_cache(tmp_path, "org--name")) == "FX1805"


def test_a_cached_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = hub_cache(tmp_path)
    source = open_source("org/name")
    assert source.config == CONFIG
    assert source.folder == snapshot
    assert source.place == "org/name"
    assert code_of("org/other") == "FX1801"


def test_a_cached_id_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    hub_cache(tmp_path)
    (tmp_path / "models--org--name" / "refs" / "main").write_bytes(b"\xff\xfe")
    assert code_of("org/name") == "FX1801"


def test_an_id_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    assert code_of("org/name") == "FX1825"
    assert code_of("org/name/deeper") == "FX1801"
    write_single(tmp_path / "org" / "name")
    assert open_source("org/name").config == CONFIG


@pytest.mark.slow
def test_a_live_model() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 9,
    }
    model = LlamaForCausalLM(LlamaConfig(**size)).half()
    source = open_source(model)
    folder = source.folder
    assert folder is not None
    assert (folder / "generation_config.json").is_file()
    assert source.config["model_type"] == "llama"
    assert source.place == "a LlamaForCausalLM"
    state = model.state_dict()
    assert set(source.tensors) == set(state)
    assert all(tensor.torch().equal(state[name]) for name, tensor in source.tensors.items())
    tensors = source.tensors
    del source
    gc.collect()
    assert not folder.exists()
    assert all(tensor.torch().equal(state[name]) for name, tensor in tensors.items())


@pytest.mark.slow
def test_a_live_model_without_weights() -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9))
    before = set(Path(tempfile.gettempdir()).glob("flexit-source-*"))
    assert code_of(model) == "FX1801"
    assert set(Path(tempfile.gettempdir()).glob("flexit-source-*")) == before
