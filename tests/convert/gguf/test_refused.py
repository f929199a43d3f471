"""What GGUF files cannot say is refused with the block named; a file is written whole or not at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

import flexit
from flexit.cli.app import run
from flexit.convert.exporting import as_lazy
from flexit.convert.gguf.writing import to_gguf
from flexit.convert.sources.gguf import open_gguf
from flexit.convert.tensors import LazyTensor
from flexit.errors import FlexitError, SourceError, UserError
from flexit.files.safetensors import write_safetensors
from flexit.ir.io.emit import to_yaml

LAYER = "blocks.decoder.layer"
PLAIN = str(Path(__file__).parent / "plain.yaml")
"""A Llama with widths that q8_0 divides."""


def model(preset=PLAIN, *sets):
    """A spec and its parameters by path."""
    spec = flexit.load_spec(preset, sets=list(sets))
    return spec, flexit.to_torch(spec, seed=0).state_dict()


@pytest.mark.parametrize(
    ("preset", "sets", "family", "path"),
    [
        (PLAIN, [f"{LAYER}.feed_forward.activation=gelu"], "llama", "feed_forward.activation"),
        (PLAIN, [f"{LAYER}.attention.mask={{kind: causal, window: 8}}"], None, "attention.mask"),
        ("tiny-llama", [], None, "attention.mask.window"),
        (PLAIN, [f"{LAYER}.attention.scores.softcap=20"], "llama", "attention.scores.softcap"),
        (PLAIN, [f"{LAYER}.attention.rotary.dim=8"], "llama", "attention.rotary"),
        ("tiny-gpt2", [f"{LAYER}.feed_forward.activation=relu"], "gpt2", "feed_forward.activation"),
        ("tiny-bert-classifier", [], None, ""),
        ("tiny-t5", [], None, ""),
    ],
)  # fmt: skip
def test_the_block_is_named(tmp_path, preset, sets, family, path):
    spec, weights = model(preset, *sets)
    with pytest.raises(SourceError) as told:
        to_gguf(spec, weights, tmp_path / "x.gguf", family=family)
    problem = told.value.problems[0]
    assert problem.code == "FX1872"
    assert str(problem.path).startswith("blocks" if path else "")
    assert path in str(problem.path)
    assert "qwen3_moe" in str(problem.cure)  # the families that there are
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"dtype": "q3"}, "FX2004"), ({"path": "x.bin"}, "FX2004"), ({"family": "gpt_neo"}, "FX1872"),
        ({"family": "no-such"}, "FX1850"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_asked_for_must_be_there(tmp_path, arguments, code):
    spec, weights = model()
    given = {"path": "x.gguf", **arguments}
    with pytest.raises(UserError) as told:
        to_gguf(spec, weights, tmp_path / given.pop("path"), **given)
    assert told.value.problems[0].code == code
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(tmp_path):
    spec, weights = model()
    (tmp_path / "x.gguf").write_text("mine")
    with pytest.raises(UserError, match="FX1301"):
        to_gguf(spec, weights, tmp_path / "x.gguf")
    assert (tmp_path / "x.gguf").read_text() == "mine"
    to_gguf(spec, weights, tmp_path / "x.gguf", force=True)
    assert open_gguf(tmp_path / "x.gguf").metadata["general.architecture"] == "llama"
    (tmp_path / "y.gguf").mkdir()
    with pytest.raises(UserError, match="FX1302"):
        to_gguf(spec, weights, tmp_path / "y.gguf", force=True)


def test_a_fault_on_the_way_leaves_the_old_file(tmp_path):
    spec, weights = model()
    to_gguf(spec, weights, tmp_path / "x.gguf")
    before = (tmp_path / "x.gguf").read_bytes()

    def broken():
        raise FlexitError("gone")

    lazy = {path: as_lazy(each) for path, each in weights.items()}
    last = list(lazy)[-1]
    with pytest.raises(FlexitError, match="gone"):
        to_gguf(spec, lazy | {last: replace(lazy[last], read=broken)}, tmp_path / "x.gguf", force=True)
    assert (tmp_path / "x.gguf").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]


def test_what_is_too_large_for_fp16_is_refused(tmp_path):
    spec, weights = model()
    weights["decoder.layers.0.feed_forward.up_proj.weight"][1, 2] = 1e5
    with pytest.raises(SourceError, match="FX1873") as told:
        to_gguf(spec, weights, tmp_path / "x.gguf")
    assert told.value.problems[0].path == "blk.0.ffn_up.weight"
    assert list(tmp_path.iterdir()) == []
    to_gguf(spec, weights, tmp_path / "x.gguf", dtype="bf16")
    read = open_gguf(tmp_path / "x.gguf").tensors["blk.0.ffn_up.weight"]
    assert float(read.numpy()[1, 2]) == float(torch.tensor(1e5).bfloat16())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16", "q8_0"])
def test_matrices_have_the_format_and_vectors_are_whole(tmp_path, dtype):
    spec, weights = model()
    to_gguf(spec, weights, tmp_path / "x.gguf", dtype=dtype)
    file = open_gguf(tmp_path / "x.gguf")
    for name, tensor in file.tensors.items():
        is_vector = len(tensor.shape) == 1
        divides = tensor.shape[-1] % 32 == 0
        expected = "F32" if is_vector else dtype.upper() if divides or dtype != "q8_0" else "F16"
        assert file.formats[name] == expected, name
    up = weights["decoder.layers.0.feed_forward.up_proj.weight"].numpy()
    kind = GGMLQuantizationType[dtype.upper()]
    found = file.tensors["blk.0.ffn_up.weight"].numpy().astype(np.float32)
    assert np.array_equal(found, dequantize(quantize(up, kind), kind))
    blocks = (
        np.abs(up).reshape(len(up), -1, 32).max(-1).repeat(32, -1)
    )  # of which q8_0 has 127 steps, as long as fp16 says
    steps = {"f32": 0.0, "f16": 2.0**-11, "bf16": 2.0**-8, "q8_0": 0.5 / 127 + 2.0**-11}[dtype]
    assert np.all(np.abs(found - up) <= steps * blocks + 1e-7)


@pytest.mark.slow
def test_one_tensor_is_read_at_a_time(tmp_path):
    """No array lives on when the next one is asked for."""
    import gc
    import weakref

    spec, weights = model()
    alive, most = [], [0]

    def counted(array):
        def read():
            gc.collect()
            most[0] = max(most[0], sum(ref() is not None for ref in alive))
            made = array.copy()
            alive.append(weakref.ref(made))
            return made

        return LazyTensor(array.shape, "F32", read)

    to_gguf(spec, {path: counted(each.numpy()) for path, each in weights.items()}, tmp_path / "x.gguf")
    assert len(alive) == len(weights)  # each once
    assert most[0] <= 1


# ---- the command


def saved(folder, spec, weights):
    """A checkpoint of ours."""
    folder.mkdir()
    (folder / "spec.yaml").write_text(to_yaml(spec))
    write_safetensors(folder / "model.safetensors", {path: as_lazy(each) for path, each in weights.items()})
    return folder


def test_the_command_writes_what_import_reads(tmp_path, capsys):
    spec, weights = model()
    folder = saved(tmp_path / "ours", spec, weights)
    out = tmp_path / "x.gguf"
    assert run(["convert", str(folder), "--to", "gguf", "--dtype", "f32", "--context", "77", "-o", str(out)]) == 0
    assert "a llama" in capsys.readouterr().out
    assert open_gguf(out).metadata["llama.context_length"] == 77
    assert run(["import", str(out), "-o", str(tmp_path / "again")]) == 0
    again = flexit.from_pretrained(out)
    assert {path: tensor.numpy().tobytes() for path, tensor in again.weights.items()} == {
        path: each.numpy().tobytes() for path, each in weights.items()
    }
    assert run(["convert", str(out), "--to", "gguf", "-o", str(tmp_path / "y.gguf")]) == 0
    assert open_gguf(tmp_path / "y.gguf").metadata["llama.context_length"] == 77


@pytest.mark.parametrize(
    "arguments",
    [["--to", "onnx"], ["--dtype", "f16"], ["--context", "9"], ["--to", "gguf", "--dtype", "int3"]],
)
def test_the_command_refuses_what_there_is_not(tmp_path, capsys, arguments):
    folder = saved(tmp_path / "ours", *model())
    assert run(["convert", str(folder), "-o", str(tmp_path / "out.gguf"), *arguments]) == 2
    assert "FX2004" in capsys.readouterr().err
    assert not (tmp_path / "out.gguf").exists()


def test_weights_must_be_those_of_the_spec(tmp_path):
    spec, weights = model()
    weights.pop("decoder.layers.1.attention.q_proj.weight")
    with pytest.raises(UserError, match="FX2002"):
        to_gguf(spec, weights, tmp_path / "x.gguf")
