"""How a run is watched: FLOPs, statistics, samples and trackers, none of which changes a bit of it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from flexit.errors import RunConfigError, UserError
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import to_torch
from flexit.runtime.generation.generate import generate
from flexit.runtime.saved import load_checkpoint
from flexit.runtime.sessions.torch_session import TorchSession
from flexit.runtime.tokenizer import Tokenizer
from flexit.runtime.train.callbacks import metrics
from flexit.runtime.train.callbacks.metrics import read_lines
from flexit.runtime.train.callbacks.statistics import Sums
from flexit.runtime.train.config import Log, Statistics
from flexit.runtime.train.read import read_config
from flexit.runtime.train.resources.work import PEAKS, Work, known_peak
from flexit.runtime.train.run import train
from flexit.runtime.train.trackers.mlflow import MLflow
from flexit.runtime.train.trackers.tensorboard import TensorBoard
from flexit.runtime.train.trackers.trackio import Trackio
from flexit.runtime.train.trackers.wandb import WandB
from tests.ir.test_cost import AttentionFlops
from tests.runtime.train.plain import batches, mean_loss, trainer

# ---- work


def test_work_is_three_times_the_forward_that_pytorch_counts():
    model = to_torch(load_spec("tiny-t5"), seed=0).eval()
    shapes = [
        {"input_ids": (2, 7), "decoder_input_ids": (2, 4), "labels": (2, 4)},
        {"input_ids": (3, 5), "decoder_input_ids": (3, 6)},
    ]
    counted = 0
    for shape in shapes:
        given = {name: torch.zeros(size, dtype=torch.int64) for name, size in shape.items() if name != "labels"}
        with torch.no_grad(), AttentionFlops() as attention, FlopCounterMode(display=False) as counter:
            model(**given)
        counted += counter.get_total_flops() + attention.total
    assert Work().of(model, shapes) == 3 * counted


def test_a_module_without_a_program_has_no_flops(tmp_path: Path):
    assert Work().of(torch.nn.Linear(2, 2), [{"x": (2, 2)}]) is None
    trainer(batches(3), out=tmp_path).fit(steps=2)
    assert set(read_lines(tmp_path / "timing.jsonl")[0]) == {"step", "seconds", "tokens_per_second"}


def test_the_time_of_evaluations_alone_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()

    def loss(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        clock.now += 1.0 if outputs.requires_grad else 50.0
        return mean_loss(outputs, batch)

    monkeypatch.setattr(metrics, "time", clock)
    run = trainer(
        batches(4), held_out=batches(1), out=tmp_path, loss_fn=loss, evaluate={"every": 3}, log={"every": 4}
    )  # fmt: skip
    run.fit(steps=8)
    timing = [(line["seconds"], line["tokens_per_second"]) for line in read_lines(tmp_path / "timing.jsonl")]
    assert timing == [(4.0, 2.0), (4.0, 2.0)]


def test_peaks_by_the_name_of_the_device(monkeypatch: pytest.MonkeyPatch):
    device = torch.device("cuda")
    names = {
        "NVIDIA H100 80GB HBM3": 989.4e12, "NVIDIA H100 PCIe": 756e12, "NVIDIA A100-SXM4-80GB": 312e12,
        "NVIDIA L40S": 362e12, "NVIDIA L40": 181e12, "NVIDIA L4": 121e12, "NVIDIA RTX A4000": None, "Tesla T4": None,
    }  # fmt: skip
    for name, peak in names.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _, name=name: name)
        assert known_peak(device, "bf16") == peak
    assert known_peak(device, "fp16") == PEAKS["T4"]["fp16"]
    assert known_peak(torch.device("cpu"), "bf16") is None


@pytest.mark.slow
def test_a_run_tells_flops_and_their_share(write_config: Callable[..., Path]):
    train(write_config(log="{every: 3, peak_flops: 1e12}"), progress=False)
    for line in read_lines(write_config().parent / "run" / "timing.jsonl"):
        assert line["flops_per_second"] > 0
        assert line["mfu"] == pytest.approx(line["flops_per_second"] / 1e12, abs=1e-4)


# ---- statistics


def test_sums_are_those_of_all_pieces():
    values = torch.randn(100).where(torch.rand(100) < 0.7, 0.0)
    sums = Sums()
    for piece in values.split(7):
        sums.add(piece)
    told = sums.told()
    assert told["rms"] == pytest.approx(float(values.square().mean().sqrt()), rel=1e-6)
    assert told["max"] == float(values.abs().max())
    assert told["zeros"] == pytest.approx(float((values == 0).float().mean()))
    assert Sums().told() == {"rms": None, "max": None, "zeros": None}


def test_statistics_by_hand(tmp_path: Path):
    made = trainer(batches(6), out=tmp_path, statistics=Statistics(every=2), accumulate=2, clip_norm=None)
    seen: list[torch.Tensor] = []
    weights: dict[int, torch.Tensor] = {}
    first: Any = made.model.layers
    first[0].register_forward_hook(lambda module, given, result: seen.append(result.detach().clone()))
    update = made._updater.make  # pyright: ignore[reportPrivateUsage]

    def keep(*args: Any, **settings: Any) -> Any:
        weights[settings["number"]] = first[0].weight.detach().clone()
        return update(*args, **settings)

    made._updater.make = keep  # pyright: ignore[reportPrivateUsage]
    made.fit(steps=4)
    lines = read_lines(tmp_path / "statistics.jsonl")
    assert [line["step"] for line in lines] == [2, 4]
    for line in lines:
        step = line["step"]
        results = torch.cat(seen[2 * step - 2 : 2 * step])
        told = line["activations"]["layers.0"]
        assert told["rms"] == pytest.approx(float(results.square().mean().sqrt()), rel=1e-5)
        assert told["max"] == pytest.approx(float(results.abs().max()))
        after = weights[step + 1] if step < 4 else first[0].weight.detach()
        parameter = line["parameters"]["layers.0.weight"]
        moved = (after - weights[step]).square().mean().sqrt() / weights[step].square().mean().sqrt()
        assert parameter["update_ratio"] == pytest.approx(float(moved), rel=1e-5)
        assert parameter["weight_rms"] == pytest.approx(float(weights[step].square().mean().sqrt()), rel=1e-5)
    gradient = first[0].weight.grad
    assert lines[-1]["parameters"]["layers.0.weight"]["gradient_rms"] == pytest.approx(
        float(gradient.square().mean().sqrt()), rel=1e-5
    )
    dropped = line["activations"]["layers.2"]["zeros"]
    assert 0 < dropped < 1
    assert not any(module._forward_hooks for module in made.model.modules() if module is not first[0])


def bits(run: Path) -> tuple[bytes, bytes, bytes, bytes]:
    folder = run / "checkpoints" / (run / "LATEST").read_text().strip()
    names = ("model.safetensors", "training/optimizer.safetensors", "training/random.safetensors")
    first, second, third = ((folder / name).read_bytes() for name in names)
    return first, second, third, (run / "metrics.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"recompute": "true"}])
def test_watching_changes_no_bit(write_config: Callable[..., Path], more: dict[str, str]):
    dropout = {"set": '["blocks.embed.vocab_size=300", "blocks.decoder.layer.dropout=0.1"]', "steps": "6", **more}
    dropout["evaluate"] = "{every: 2, max_batches: 2}"
    plain = write_config(**dropout, checkpoint="{every: 2}", out="plain")
    train(plain, progress=False)
    watched = write_config(
        **dropout, checkpoint="{every: 2}", out="watched", statistics="{every: 2}", track="[tensorboard]",
        sample="{every: 1, prompts: ['def ', 'import '], max_new_tokens: 5, temperature: 1.0}",
    )  # fmt: skip
    train(watched, progress=False)
    assert bits(plain.parent / "plain") == bits(plain.parent / "watched")
    paths = set(read_lines(plain.parent / "watched" / "statistics.jsonl")[-1]["activations"])
    assert {"decoder.layers.0", "decoder.layers.1.attention", "decoder.layers.0.feed_forward.up_proj"} <= paths


# ---- samples


@pytest.mark.slow
def test_samples_are_what_the_checkpoint_makes(write_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]):
    path = write_config(
        steps="4", checkpoint="{every: 2, keep_last: 9}", schedule="constant",
        sample="{every: 2, prompts: ['def main', 'import os'], max_new_tokens: 8}",
    )  # fmt: skip
    train(path)
    run = path.parent / "run"
    lines = read_lines(run / "samples.jsonl")
    assert [(line["step"], line["prompt"]) for line in lines] == [
        (2, "def main"), (2, "import os"), (4, "def main"), (4, "import os"),
    ]  # fmt: skip
    assert f"step 4  import os{lines[-1]['text']}" in capsys.readouterr().err
    for line in lines:
        folder = run / "checkpoints" / f"step-{line['step']:06}"
        tokenizer = Tokenizer.load(folder / "tokenizer.json")
        row = tokenizer.encode(line["prompt"])
        (made,) = generate(TorchSession(load_checkpoint(folder)), [row], max_new_tokens=8, eos_id=0)
        assert tokenizer.decode([*row, *made]) == line["prompt"] + line["text"]
    before = (run / "samples.jsonl").read_bytes()
    for name in ("step-000004",):
        (run / "checkpoints" / name / "model.safetensors").write_bytes(b"")
    train(path, progress=False)
    assert (run / "samples.jsonl").read_bytes() == before


@pytest.mark.slow
def test_samples_of_sources(tmp_path: Path):
    rows = [{"source": each * 3, "target": each.upper()} for each in "abcdef" * 8]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "run.yaml").write_text(
        "flexit: 1\nmodel: tiny-t5\ntask: {kind: seq2seq, target_tokenizer: characters}\n"
        "data: {train: {kind: jsonl, files: [data.jsonl]}, seq_len: 8, tokenizer: characters}\nsteps: 100\n"
        "optimizer: {kind: adamw, lr: 1e-2}\n"
        "batch: {size: 8}\nsample: {every: 100, prompts: [aaa, eee, b]}\ndevice: cpu\nthreads: 1\nout: run\n"
    )
    train(tmp_path / "run.yaml", progress=False)
    lines = read_lines(tmp_path / "run" / "samples.jsonl")
    folder = tmp_path / "run" / "checkpoints" / "step-000100"
    reads, writes = (Tokenizer.load(folder / f"{name}tokenizer.json") for name in ("", "target_"))
    start, session = json.loads((folder / "generation_config.json").read_text())["decoder_start_token_id"], None
    session = TorchSession(load_checkpoint(folder))
    for line in lines:
        source = [each.ids for each in reads.read([line["prompt"]])]
        (made,) = generate(session, [[start]], max_new_tokens=64, eos_id=start, others={"input_ids": source})
        assert line["text"] == writes.decode(made)
    assert len({line["text"] for line in lines} - {""}) > 1


@pytest.mark.parametrize(
    ("lines", "code", "path"),
    [
        ({"task": "masked_lm", "model": "bert-base", "sample": "{every: 1, prompts: [a]}"}, "FX1532", "sample"),
        ({"sample": "{every: 1, prompts: []}"}, "FX0205", "sample.prompts"),
        ({"statistics": "{every: 1}", "compile": "regional"}, "FX1532", "statistics"),
        ({"track": "[tensorboard, tensorboard]"}, "FX1532", "track[1]"),
        ({"track": "[mlflow]"}, "FX1608", "track[0]"),
        ({"track": "[tensorbord]"}, "FX0203", "track[0]"),
        ({"log": "{peak_flops: 0}"}, "FX0206", "log.peak_flops"),
    ],
)
def test_refused(
    write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, lines: dict[str, str], code: str, path: str
):
    monkeypatch.setattr("flexit.runtime.train.tracker.find_spec", lambda name: None if name == "mlflow" else name)
    with pytest.raises(RunConfigError) as caught:
        read_config(write_config(**lines))
    assert (code, path) in [(problem.code, problem.path) for problem in caught.value.problems]


def test_a_prompt_without_room(write_config: Callable[..., Path]):
    path = write_config(model="tiny-gpt2", sample="{every: 1, prompts: ['a b', ''], max_new_tokens: 5000}")
    with pytest.raises(RunConfigError, match=r"FX1532 sample\.max_new_tokens: longer than the model has positions"):
        train(path, progress=False)


@pytest.mark.parametrize("settings", [{"statistics": Statistics(every=1)}, {"track": ["tensorboard"]}])
def test_watching_needs_a_folder(settings: dict[str, Any]):
    with pytest.raises(UserError, match="FX1532"):
        trainer(batches(2), **settings)


# ---- trackers


def shown(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The numbers that TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_shows_each_step_once_after_a_kill(tmp_path: Path):
    class Killed(Exception):
        pass

    settings: dict[str, Any] = {"out": tmp_path, "log": {"every": 1}, "track": ["tensorboard"]}
    made = trainer(batches(3), held_out=batches(2), evaluate={"every": 2}, checkpoint={"every": 3}, **settings)
    before = made._updater.make  # pyright: ignore[reportPrivateUsage]

    def kill(*args: Any, **given: Any) -> Any:
        if given["number"] == 6:
            raise Killed
        return before(*args, **given)

    made._updater.make = kill  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Killed):
        made.fit(steps=8)
    again = trainer(batches(3), held_out=batches(2), evaluate={"every": 2}, checkpoint={"every": 3}, **settings)
    again.resume()
    assert again.step == 3
    again.fit(steps=8)
    found = shown(tmp_path)
    lines = read_lines(tmp_path / "metrics.jsonl")
    for name in ("loss", "grad_norm", "validation_loss"):
        expected = [(line["step"], line[name]) for line in lines if name in line]
        assert [step for step, _ in found[name]] == [step for step, _ in expected]
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in expected], rel=1e-6)


class Fake:
    """A library that notes how it is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **settings: Any) -> Any:
            self.calls.append((name, {**settings, **({"args": args} if args else {})}))
            return SimpleNamespace(id="run-7", log=self.log, finish=self.finish) if name == "init" else None

        return call


@pytest.mark.parametrize("tracker", [WandB(project="p", mode="offline"), Trackio(project="p", name="n")])
def test_what_libraries_are_called_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: Any):
    library = Fake()
    module = ModuleType(tracker.kind)
    module.__getattr__ = library.__getattr__  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, tracker.kind, module)
    monkeypatch.setattr("flexit.runtime.train.tracker.find_spec", lambda name: name)
    settings: dict[str, Any] = {"out": tmp_path / "run", "track": [tracker], "log": {"every": 1}}
    trainer(batches(3), checkpoint={"every": 2}, **settings).fit(steps=3)
    (first, opened), *rest = library.calls
    assert first == "init"
    assert opened["project"] == "p"
    assert opened["resume"] == "allow"
    assert opened["config"]["clip_norm"] == 1.0
    assert opened["name"] == ("run" if tracker.kind == "wandb" else "n")
    assert rest[-1][0] == "finish"
    sent = [(call["step"], call["args"][0]) for name, call in rest if name == "log"]
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [(step, values["loss"]) for step, values in sent if "loss" in values] == [
        (line["step"], line["loss"]) for line in lines
    ]
    library.calls.clear()
    (tmp_path / "run" / "checkpoints" / "step-000003" / "model.safetensors").write_bytes(b"")
    again = trainer(batches(3), checkpoint={"every": 2}, **settings)
    again.resume()
    assert again.step == 2
    again.fit(steps=5)
    opened = dict(library.calls)["init"]
    assert (opened["id"] == "run-7") if tracker.kind == "wandb" else (opened["name"] == "n")
    steps = [call["step"] for name, call in library.calls if name == "log" and "loss" in call["args"][0]]
    assert steps == [4, 5]


def test_a_tracker_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flexit.runtime.train.tracker.find_spec", lambda name: None)
    for tracker in (WandB(), Trackio(), MLflow(), TensorBoard()):
        with pytest.raises(UserError, match="FX1608") as caught:
            trainer(batches(2), out=tmp_path / tracker.kind, track=[tracker]).fit(steps=1)
        assert f"pip install {tracker.package_name}" in str(caught.value)


def test_mlflow_in_earnest(tmp_path: Path):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/runs.db"
    settings: dict[str, Any] = {"out": tmp_path / "run", "track": [MLflow(uri=uri)], "log": Log(every=1)}
    trainer(batches(3), checkpoint={"every": 2}, **settings).fit(steps=3)
    (tmp_path / "run" / "checkpoints" / "step-000003" / "model.safetensors").write_bytes(b"")
    again = trainer(batches(3), checkpoint={"every": 2}, **settings)
    again.resume()
    again.fit(steps=5)
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("flexit").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    lines = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [(each.step, each.value) for each in sorted(history, key=lambda each: each.step)] == [
        (line["step"], line["loss"]) for line in lines
    ]
    assert run.data.params["clip_norm"] == "1.0"
    assert run.info.status == "FINISHED"


def test_numbers_that_are_none_are_not_sent(tmp_path: Path):
    settings: dict[str, Any] = {"out": tmp_path, "track": ["tensorboard"], "evaluate": {"every": 1, "metrics": ["f1"]}}
    trainer(batches(3), held_out=batches(2), **settings).fit(steps=1)
    assert all(math.isfinite(value) for each in shown(tmp_path).values() for _, value in each)
