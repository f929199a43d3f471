"""Layers that are computed again in backward, and compiled code: the same numbers, less kept or fewer graphs."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flexit.errors import UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.layers import Recomputed, layers_of, recompute
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.train.trainer import Trainer
from flexit.runtime.train.update.loss import CrossEntropy
from flexit.runtime.train.update.step import accumulate
from tests.runtime.train.plain import batches, trainer
from tests.runtime.train.test_step import ragged

DROPOUT = ["blocks.embed.vocab_size=300", "blocks.decoder.layer.dropout=0.2"]
COMPILED = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def model(*sets: str, preset: str = "tiny-llama") -> FlexitModule:
    return to_torch(load_spec(preset, sets=["blocks.embed.vocab_size=300", *sets]), seed=2)


def gradients(over: FlexitModule) -> tuple[dict[str, Tensor], int]:
    """Gradients of a batch, and the bytes that autograd kept for them, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    over.train().zero_grad()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        accumulate(over, CrossEntropy(), [ragged()])
    return {name: p.grad.clone() for name, p in over.named_parameters() if p.grad is not None}, sum(kept.values())


@pytest.mark.parametrize("preset", ["tiny-llama", "tiny-moe", "tiny-gpt2"])
def test_recomputed_layers_give_the_same_bits_and_keep_less(preset: str):
    sets = ["blocks.decoder.layer.dropout=0.2"]
    over, other = model(*sets, preset=preset), model(*sets, preset=preset)
    count = recompute(other)
    assert count == len([path for path in layers_of(over) if path.startswith("decoder.layers.")]) > 1
    wanted, much = gradients(over)
    found, little = gradients(other)
    assert wanted.keys() == found.keys()
    assert [name for name in wanted if not torch.equal(wanted[name], found[name])] == []
    assert little < 0.6 * much


def test_recomputing_is_of_training_alone():
    over = model()
    recompute(over)
    recompute(over)
    layer = over.get_submodule("decoder.layers.0")
    assert isinstance(layer, Recomputed) and type(layer).__mro__.count(Recomputed) == 1
    again = pickle.loads(pickle.dumps(over))
    ids = ragged()["input_ids"]
    with torch.no_grad():
        wanted = over.eval()(input_ids=ids)["logits"]
        assert torch.equal(again.eval()(input_ids=ids)["logits"], wanted)
        assert torch.equal(copy.deepcopy(over)(input_ids=ids)["logits"], wanted)
    assert not isinstance(again.get_submodule("decoder.layers.0"), Recomputed)


def run(out: Path | None = None, **settings: Any) -> Trainer:
    over = model(*settings.pop("sets", []))
    loss = settings.pop("loss", None) or CrossEntropy()
    config: dict[str, Any] = {"progress": False, "device": "cpu", "out": None if out is None else str(out)} | settings
    return Trainer(over, torch.optim.AdamW(over.parameters(), lr=1e-3), loss, [ragged(), ragged(200)], config=config)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in trainer.model.named_parameters()}


def test_a_run_with_recomputed_layers_has_the_same_bits():
    one, other = run(sets=DROPOUT[1:]), run(sets=DROPOUT[1:], recompute=True)
    for each in (one, other):
        each.fit(steps=3)
    assert isinstance(other.model.get_submodule("decoder.layers.0"), Recomputed)
    found = weights(other)
    assert [name for name, value in weights(one).items() if not torch.equal(value, found[name])] == []


@COMPILED
@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"compile": "whole"}, {"compile": "regional"}, {"compile": "regional", "recompute": True}]
)
def test_compiled_code_learns_the_same(settings: dict[str, Any]):
    torch.compiler.reset()
    eager, compiled = run(), run(**settings)
    losses = [each.fit(steps=3).loss for each in (eager, compiled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs >= 1


@COMPILED
@pytest.mark.slow
@pytest.mark.parametrize("compile", ["whole", "regional"])
def test_the_loss_is_compiled_too(compile: str):
    """The model and its loss are one graph, or the loss is one of its own; what cannot be used is told as ever."""
    torch.compiler.reset()
    loss = CrossEntropy(z_loss=0.1, label_smoothing=0.1)
    over = run(compile=compile, sets=["blocks.decoder.n_layers=1"], loss=loss)
    torch._dynamo.utils.counters.clear()
    over.fit(steps=1)
    stats = torch._dynamo.utils.counters["stats"]
    assert stats["unique_graphs"] == {"whole": 1, "regional": 2}[compile]
    assert not torch._dynamo.utils.counters["graph_break"]
    batch = ragged()
    for entry, value, message in (
        ("labels", batch["labels"][:, 1:], "the labels do not fit the logits"),
        ("labels", batch["labels"] + 300, "token ids from 0 to 299"),
        ("wrong_ids", batch["input_ids"], "the model has no input wrong_ids"),
    ):
        refusing = run(compile=compile)
        refusing._feed.loader = [batch | {entry: value}]
        with pytest.raises(UserError, match=message):
            refusing.fit(steps=1)


@COMPILED
@pytest.mark.slow
def test_a_loss_of_ones_own_runs_as_it_is_written():
    torch.compiler.reset()
    seen: list[float] = []

    def loss(outputs: Any, batch: Any) -> Tensor:
        found = torch.nn.functional.cross_entropy(outputs["logits"].flatten(0, 1), batch["labels"].flatten())
        seen.append(float(found.detach()))
        return found

    result = run(compile="whole", loss=loss, sets=["blocks.decoder.n_layers=1"]).fit(steps=3)
    assert len(seen) == 3
    assert result.loss == pytest.approx(seen[-1], rel=1e-6)


@COMPILED
@pytest.mark.slow
def test_regional_compilation_is_of_distinct_layers():
    """Eight layers of one region are compiled as often as two."""
    counts: list[int] = []
    for n_layers in (2, 8):
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        run(sets=[f"blocks.decoder.n_layers={n_layers}", "blocks.decoder.pattern=[default]"], compile="regional").fit(
            steps=2
        )
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[0] == counts[1] > 0


@COMPILED
@pytest.mark.slow
def test_a_compiled_run_in_two_parts_has_the_same_bits(tmp_path: Path):
    settings: dict[str, Any] = {"compile": "regional", "sets": DROPOUT[1:], "checkpoint": {"every": 2}}
    run(tmp_path / "whole", **settings).fit(steps=4)
    run(tmp_path / "parts", **settings).fit(steps=2)
    torch.compiler.reset()
    again = run(tmp_path / "parts", **settings)
    again.resume()
    again.fit(steps=4)
    one, other = (
        load_file(tmp_path / each / "checkpoints/step-000004/model.safetensors") for each in ("whole", "parts")
    )
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("settings", [{"recompute": True}, {"compile": "regional"}])
def test_a_module_without_layers_is_refused(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flexit.runtime.train.update.preparing.require_compiler", lambda device: None)
    with pytest.raises(UserError, match=r"FX1704 config\.(recompute|compile): the model has no layers"):
        trainer(batches(2), **settings)


def test_a_machine_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", refuse)
    with pytest.raises(UserError, match="FX1702 compile: this machine cannot compile") as caught:
        run(compile="whole")
    assert "No working C++ compiler found" in str(caught.value)
