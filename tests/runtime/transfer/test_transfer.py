"""Weights that go into another model: what is preserved, what becomes of each tensor, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from flexit.cli.app import run
from flexit.errors import UserError
from flexit.ir.io.load import load_spec, parse_spec
from flexit.ir.spec import Spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.saved import read_weights
from flexit.runtime.transfer.transfer import Transferred, transfer
from tests.runtime.transfer.models import OWN_HEAD, checkpoint, ids, logits, small

K = "decoder.layers.0.attention.k_proj.weight"


def carried(tmp_path: Path, old: Spec, new: Spec, **options: Any) -> tuple[Transferred, np.ndarray[Any, Any], Any]:
    """The result, and the logits of both models on the same tokens."""
    module = checkpoint(tmp_path / "old", old)
    result = transfer(tmp_path / "old", new, options=options, seed=3)
    given = ids()
    return result, logits(module, given), logits(to_torch(new, result.weights).eval(), given)


def what(result: Transferred) -> dict[str, str]:
    return {step.path: step.what for step in result.plan.steps}


@pytest.mark.parametrize(
    ("old", "new", "options"),
    [
        ({}, {}, {}),
        ({}, {"layers": 5}, {}),
        ({}, {"layers": 4}, {"depth": "repeat"}),
        ({}, {"layers": 3}, {"depth": "upscale"}),
        ({"norm": "rms_norm", "mlp": "gated_mlp"}, {"d_ff": 40, "layers": 3}, {}),
        ({}, {"d_ff": 40}, {"width": "duplicate"}),
        ({}, {"heads": 6, "attention": ", head_dim: 4"}, {}),
        ({}, {"heads": 6, "attention": ", head_dim: 4"}, {"width": "duplicate"}),
        (
            {"attention": ", n_kv_heads: 2"},
            {"heads": 8, "attention": ", head_dim: 4, n_kv_heads: 4"},
            {},
        ),
        (
            {"attention": ", n_kv_heads: 2"},
            {"heads": 6, "attention": ", head_dim: 4, n_kv_heads: 2"},
            {},
        ),
        ({"attention": ", n_kv_heads: 2"}, {"attention": ""}, {}),
        ({"head": OWN_HEAD}, {"d_model": 32, "heads": 8, "head": OWN_HEAD}, {"width": "duplicate"}),
        ({}, {"d_model": 32, "heads": 8, "head": OWN_HEAD}, {"width": "duplicate"}),
        ({}, {"head": OWN_HEAD}, {}),
        ({}, {"position": ", position: {kind: learned, max_len: 30}"}, {}),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else str(value),
)
def test_what_is_larger_computes_the_same(tmp_path: Path, old: Any, new: Any, options: Any):
    """The logits of both modules, and the verdict of the comparison that comes with it."""
    result, before, after = carried(tmp_path, small(**old), small(**(old | new)), **options)
    assert np.abs(after - before).max() <= 1e-5 * np.abs(before).max()
    assert result.compared is not None and result.compared.same
    assert "dropped" not in result.summary


@pytest.mark.parametrize(
    ("new", "options"),
    [
        ({"layers": 4}, {"added_layers": "copy"}),
        ({"attention": ", n_kv_heads: 2"}, {}),
        ({"position": "", "attention": ", rotary: {}"}, {}),
        ({"placement": "post", "layers": 4}, {}),
        ({"d_model": 32, "heads": 8}, {"width": "zero"}),
        ({"layers": 1}, {}),
    ],
    ids=json.dumps,
)
def test_what_computes_something_else_is_said_to(tmp_path: Path, new: Any, options: Any):
    old = {key: value for key, value in new.items() if key == "placement"}
    result, before, after = carried(tmp_path, small(**old), small(**new), **options)
    assert np.abs(after - before).max() > 1e-3 * np.abs(before).max()
    assert result.compared is not None and not result.compared.same
    with pytest.raises(UserError, match=r"FX2204.*does not compute what the old one does"):
        transfer(tmp_path / "old", small(**new), options=options, same=True)


@pytest.mark.parametrize("groups", [1, 2])
def test_heads_are_pooled_as_defined(tmp_path: Path, groups: int):
    """Ainslie et al. 2023: the head of a group is the mean of the heads that it replaces."""
    checkpoint(tmp_path / "old", small())
    result = transfer(tmp_path / "old", small(attention=f", n_kv_heads: {groups}"))
    old = load_file(tmp_path / "old" / "model.safetensors")
    for name in ("k_proj", "v_proj"):
        for slot in ("weight", "bias"):
            path = f"decoder.layers.1.attention.{name}.{slot}"
            heads = [old[path][4 * head : 4 * head + 4].astype(np.float64) for head in range(4)]
            size = 4 // groups
            wanted = np.concatenate([sum(heads[size * g : size * g + size]) / size for g in range(groups)])
            found = result.weights[path].numpy()
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
            assert what(result)[path] == "pooled"


def test_other_positions_drop_the_table_or_make_one(tmp_path: Path):
    checkpoint(tmp_path / "old", small())
    checkpoint(tmp_path / "turned", small(position="", attention=", rotary: {}"))
    gone = transfer(tmp_path / "old", small(position="", attention=", rotary: {}"))
    assert [*gone.plan.dropped] == ["embed.positions.weight"] and set(what(gone).values()) == {"kept"}
    made = transfer(tmp_path / "turned", small())
    assert [path for path, word in what(made).items() if word == "made"] == ["embed.positions.weight"]
    first = to_torch(small(), seed=0).get_parameter("embed.positions.weight")
    np.testing.assert_array_equal(made.weights["embed.positions.weight"].numpy(), first.detach().numpy())


def test_a_longer_table_keeps_its_rows_and_draws_the_rest(tmp_path: Path):
    old = checkpoint(tmp_path / "old", small())
    result = transfer(tmp_path / "old", small(position=", position: {kind: learned, max_len: 30}"))
    found = result.weights["embed.positions.weight"].numpy()
    np.testing.assert_array_equal(found[:20], old.get_parameter("embed.positions.weight").detach().numpy())
    assert np.abs(found[20:]).min() > 0 and np.abs(found[20:]).max() < 0.1  # normal with 0.02


def test_another_head(tmp_path: Path):
    checkpoint(tmp_path / "old", small())
    result = transfer(tmp_path / "old", small(head="{kind: sequence_classifier, n_labels: 3, pool: last}"))
    made = {path for path, word in what(result).items() if word == "made"}
    assert made == {"head.out.weight", "head.out.bias"} and not result.plan.dropped
    again = transfer(tmp_path / "old", small(head=OWN_HEAD), options={"new": [{"role": "head"}]})
    assert what(again)["head.table.weight"] == "made"


def test_a_head_for_other_classes_is_made(tmp_path: Path):
    head = "{{kind: sequence_classifier, n_labels: {}, pool: last, dense: {{bias: true}}}}"
    checkpoint(tmp_path / "old", small(head=head.format(3)))
    result = transfer(tmp_path / "old", small(head=head.format(5)))
    found = {step.path: (step.what, step.note) for step in result.plan.steps if step.path.startswith("head")}
    assert found == {
        "head.dense.weight": ("kept", ""), "head.dense.bias": ("kept", ""),
        "head.out.weight": ("made", "3 rows there, 5 here"), "head.out.bias": ("made", "3 rows there, 5 here"),
    }  # fmt: skip


def test_a_part_of_another_kind_is_not_mistaken_for_it(tmp_path: Path):
    """Both have ``head.dense.weight`` of one shape, which are not the same thing."""
    checkpoint(tmp_path / "old", small(head="{kind: mlm_head, tied_to: embed}"))
    result = transfer(
        tmp_path / "old", small(head="{kind: sequence_classifier, n_labels: 2, pool: last, dense: {bias: true}}")
    )
    found = {step.path: step for step in result.plan.steps}
    assert found["head.dense.weight"].what == "made"
    assert found["head.dense.weight"].note == "mlm_head there, sequence_classifier here"
    assert "head.dense.weight" in result.plan.dropped


def test_blocks_that_are_called_otherwise(tmp_path: Path):
    old = checkpoint(tmp_path / "old", small())
    text = small().to_yaml().replace("decoder:", "body:")
    new = load_spec(_written(tmp_path, text))
    with pytest.raises(UserError, match=r"FX2205.*no tensor there begins so"):
        transfer(tmp_path / "old", new, options={"rename": {"decodr": "body"}})
    result = transfer(tmp_path / "old", new, options={"rename": {"decoder": "body"}})
    assert result.compared is not None and result.compared.same and not result.plan.dropped
    found = result.weights["body.layers.1.attention.o_proj.weight"].numpy()
    np.testing.assert_array_equal(found, old.get_parameter("decoder.layers.1.attention.o_proj.weight").detach().numpy())


def _written(folder: Path, text: str) -> Path:
    (folder / "new.yaml").write_text(text)
    return folder / "new.yaml"


@pytest.mark.parametrize(
    ("new", "options", "code", "paths"),
    [
        ({"d_ff": 20}, {}, "FX2201", {"decoder.layers.0.feed_forward.up_proj.weight"}),
        ({"attention": ", head_dim: 8"}, {}, "FX2201", {K}),
        ({"heads": 2, "attention": ", head_dim: 4"}, {}, "FX2201", {K}),
        ({"layers": 6}, {"depth": "upscale"}, "FX2202", {"decoder.layers"}),
        ({}, {"new": [{"match": "head.*"}]}, "FX2205", {"new.0"}),
        ({}, {"rename": {"decoder.layers.1": "decoder.layers.0"}}, "FX2205", {"rename"}),
        ({}, {"depht": "repeat"}, "FX0201", {"depht"}),
    ],
)
def test_what_cannot_be_said_is_refused_with_every_tensor(
    tmp_path: Path, new: Any, options: Any, code: str, paths: set[str]
):
    checkpoint(tmp_path / "old", small())
    with pytest.raises(UserError) as caught:
        transfer(tmp_path / "old", small(**new), options=options)
    assert {problem.code for problem in caught.value.problems} == {code}
    assert paths <= {problem.path for problem in caught.value.problems}
    if code == "FX2201":
        assert {p.path.split(".")[2] for p in caught.value.problems} == {"0", "1"}
        fresh = {"new": [{"match": problem.path} for problem in caught.value.problems]}
        result = transfer(tmp_path / "old", small(**new), options=fresh)
        assert {step.note for step in result.plan.steps if step.what == "made"} == {"as was asked"}


def test_models_with_nothing_in_common(tmp_path: Path):
    checkpoint(tmp_path / "old", small())
    text = re.sub(r"^  (embed|decoder|head):", r"  x\1:", small().to_yaml(), flags=re.MULTILINE)
    new = parse_spec(text.replace("tied_to: embed", "tied_to: xembed"))
    with pytest.raises(UserError, match="FX2206"):
        transfer(tmp_path / "old", new)


def test_number_formats_stay(tmp_path: Path):
    checkpoint(tmp_path / "old", small())
    path = tmp_path / "old" / "model.safetensors"
    save_file({name: value.to(torch.bfloat16) for name, value in read_weights(tmp_path / "old").items()}, path)
    result = transfer(tmp_path / "old", small(layers=3, d_ff=30, attention=", n_kv_heads: 2"))
    result.save(tmp_path / "new")
    assert {value.dtype for value in read_weights(tmp_path / "new").values()} == {torch.bfloat16}


def test_the_command_writes_a_checkpoint_and_an_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    checkpoint(tmp_path / "old", small())
    new = _written(tmp_path, small(layers=4, position="", attention=", n_kv_heads: 2, rotary: {}").to_yaml())
    assert run(["transfer", str(tmp_path / "old"), str(new), "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    account = json.loads((tmp_path / "out" / "transfer.json").read_text())
    told = {entry["tensor"]: entry for entry in account["tensors"]}
    assert told[K] == {
        "tensor": K, "what": "pooled", "lengths": [8, 16], "from": K, "before": [16, 16],
    }  # fmt: skip
    assert account["dropped"] == [{"tensor": "embed.positions.weight", "lengths": [20, 16]}]
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights.keys() == told.keys() and not weights["decoder.layers.1.attention.o_proj.weight"].any()
    lines = shown.splitlines()
    assert any(line.split()[:2] == ["pooled", "decoder.layers.0-3.attention.k_proj.weight"] for line in lines)
    assert any(line.split()[:2] == ["dropped", "embed.positions.weight"] for line in lines)
    assert any(line.startswith("computes something else than the old model") for line in lines)
    assert run(["transfer", str(tmp_path / "old"), str(new), "-o", str(tmp_path / "out"), "--same", "--force"]) == 2
    assert "FX2204" in capsys.readouterr().err
    assert run(["transfer", str(tmp_path / "old"), str(new), "-o", str(tmp_path / "out")]) == 2
    assert "FX1301" in capsys.readouterr().err
