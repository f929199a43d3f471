"""Optimizers of the run config against those of PyTorch and transformers in a plain loop, and their states."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from flexit.errors import RunConfigError
from flexit.ir import registry
from flexit.ir.io.load import load_spec
from flexit.lower.torch.module import FlexitModule, to_torch
from flexit.runtime.train.optimisation import optimizer_state
from flexit.runtime.train.optimisation.optim import make_optimizer
from flexit.runtime.train.optimisation.optimizer import Moved, Optimizer, Together
from flexit.runtime.train.optimizers.adafactor import Adafactor
from flexit.runtime.train.optimizers.adamw import AdamW
from flexit.runtime.train.optimizers.muon import Muon, is_matrix_of_layer
from flexit.runtime.train.optimizers.pytorch_optimizer import PytorchOptimizer
from flexit.runtime.train.optimizers.sgd import Sgd
from flexit.runtime.train.run import train
from flexit.runtime.train.update.loss import CrossEntropy
from flexit.runtime.train.update.step import Clip, accumulate, update

STEPS = 5


def model(preset: str = "tiny-llama") -> FlexitModule:
    return to_torch(load_spec(preset, sets=["blocks.embed.vocab_size=50"]), seed=3)


def batches() -> list[dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (STEPS, 2, 9), generator=draw)
    return [{"input_ids": each[:, :-1], "labels": each[:, 1:]} for each in ids]


def stepped(optimizer: torch.optim.Optimizer, over: FlexitModule) -> dict[str, Tensor]:
    """The weights after a few updates without a clip."""
    for number, batch in enumerate(batches(), start=1):
        optimizer.zero_grad()
        losses, _ = accumulate(over, CrossEntropy(), [batch])
        update(over, optimizer, losses=losses, clip=Clip(), number=number)
    return {name: p.detach().clone() for name, p in over.named_parameters()}


def by_hand(make: Callable[[list[Any], list[Any]], list[torch.optim.Optimizer]]) -> dict[str, Tensor]:
    """The weights after the same updates by optimizers of PyTorch, made of matrices and of vectors."""
    over = model()
    matrices = [p for p in over.parameters() if p.dim() >= 2]
    vectors = [p for p in over.parameters() if p.dim() < 2]
    optimizers = make(matrices, vectors)
    for batch in batches():
        over.zero_grad()
        CrossEntropy()(over(input_ids=batch["input_ids"]), batch)["loss"].backward()
        for each in optimizers:
            each.step()
    return {name: p.detach().clone() for name, p in over.named_parameters()}


def decayed(cls: Any, decay: float, **settings: Any) -> Callable[[list[Any], list[Any]], list[Any]]:
    return lambda matrices, vectors: [
        cls(matrices, weight_decay=decay, **settings), cls(vectors, weight_decay=0.0, **settings)
    ]  # fmt: skip


REFERENCES: dict[str, tuple[Optimizer, Callable[[list[Any], list[Any]], list[Any]]]] = {
    "adamw": (
        AdamW(lr=2e-3, weight_decay=0.3, betas=[0.8, 0.9], eps=1e-6),
        decayed(torch.optim.AdamW, 0.3, lr=2e-3, betas=(0.8, 0.9), eps=1e-6),
    ),
    "adamw as it is": (AdamW(), decayed(torch.optim.AdamW, 0.1, lr=1e-3, betas=(0.9, 0.95))),
    "sgd": (Sgd(lr=0.2), decayed(torch.optim.SGD, 0.0, lr=0.2)),
    "sgd with momentum": (
        Sgd(lr=0.1, weight_decay=0.2, momentum=0.8), decayed(torch.optim.SGD, 0.2, lr=0.1, momentum=0.8),
    ),
    "sgd of Nesterov": (
        Sgd(lr=0.1, momentum=0.8, nesterov=True), decayed(torch.optim.SGD, 0.0, lr=0.1, momentum=0.8, nesterov=True),
    ),
    "adafactor": (Adafactor(), decayed(torch.optim.Adafactor, 0.0, lr=1e-2)),
    "adafactor otherwise": (
        Adafactor(lr=0.05, weight_decay=0.1, beta2_decay=-0.5, eps1=1e-4, eps2=1e-2, clip_threshold=2.0),
        decayed(torch.optim.Adafactor, 0.1, lr=0.05, beta2_decay=-0.5, eps=(1e-4, 1e-2), d=2.0),
    ),
}  # fmt: skip


def require_close(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], first: Mapping[str, Tensor]) -> None:
    """Equal up to rounding, which is judged by how far a parameter moved."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        moved = float((value - first[name]).abs().max())
        assert moved > 0, name
        assert float((found[name] - value).abs().max()) < 1e-3 * moved, name


@pytest.mark.parametrize("name", REFERENCES)
def test_optimizers_are_those_of_pytorch(name: str):
    config, make = REFERENCES[name]
    over = model()
    first = {name: p.detach().clone() for name, p in over.named_parameters()}
    require_close(stepped(make_optimizer(over, over.program, config), over), by_hand(make), first)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")
def test_adafactor_is_that_of_transformers():
    from transformers.optimization import Adafactor as Other

    over, first = model(), dict(model().named_parameters())

    def other(matrices: list[Any], vectors: list[Any]) -> list[Any]:
        # There eps1 is of the squares, here of their root.
        return [Other([*matrices, *vectors], lr=1e-2, scale_parameter=True, relative_step=False, eps=(1e-30, 1e-3))]

    found = stepped(make_optimizer(over, over.program, Adafactor(eps1=1e-15)), over)
    require_close(found, by_hand(other), first)


@pytest.mark.parametrize(("scale", "nesterov"), [("match_rms_adamw", True), ("original", False)])
def test_muon_is_that_of_pytorch_with_adamw_beside_it(scale: Any, nesterov: bool):
    over = model()
    first = {name: p.detach().clone() for name, p in over.named_parameters()}
    config = Muon(lr=3e-3, weight_decay=0.2, momentum=0.9, nesterov=nesterov, ns_steps=4, scale=scale)
    found = stepped(make_optimizer(over, over.program, config), over)
    names = {id(p): name for name, p in over.named_parameters()}
    inside = [name for name in names.values() if ".layers." in name and name.endswith("_proj.weight")]

    reference = model()
    by_name = dict(reference.named_parameters())
    rest = [name for name in by_name if name not in inside]
    optimizers = [
        torch.optim.Muon(
            [by_name[name] for name in inside], lr=3e-3, weight_decay=0.2, momentum=0.9, nesterov=nesterov, ns_steps=4,
            adjust_lr_fn=scale,
        ),
        torch.optim.AdamW(
            [{"params": [by_name[n] for n in rest if by_name[n].dim() > 1], "weight_decay": 0.2},
             {"params": [by_name[n] for n in rest if by_name[n].dim() < 2], "weight_decay": 0.0}],
            lr=3e-3, betas=(0.9, 0.95), fused=True,
        ),
    ]  # fmt: skip
    for batch in batches():
        reference.zero_grad()
        CrossEntropy()(reference(input_ids=batch["input_ids"]), batch)["loss"].backward()
        for each in optimizers:
            each.step()
    assert len(inside) > 10
    assert [name for name, p in reference.named_parameters() if not torch.equal(p, found[name])] == []
    assert all(not torch.equal(found[name], first[name]) for name in found)


def test_muon_takes_no_table_no_head_and_no_stack_of_experts():
    over = to_torch(load_spec("tiny-moe"))
    roles = {param.path: param.role for param in over.program.params()}
    taken = {n for n, p in over.named_parameters() if is_matrix_of_layer(Moved(n, roles[n], p))}
    assert {name for name in taken if "layers" not in name} == set()
    assert any("router" in name for name in taken) and any("q_proj" in name for name in taken)
    left = set(roles) - taken
    assert {name for name in left if "experts" in name or "norm" in name or "embed" in name} == left
    assert any(over.get_parameter(name).dim() == 3 for name in left)


def test_lion_of_the_library_is_the_formula_of_its_paper():
    """Chen et al. 2023, algorithm 2."""
    config = PytorchOptimizer(name="lion", lr=1e-3, weight_decay=0.1, settings={"betas": [0.8, 0.95]})
    over = model()
    first = {name: p.detach().clone() for name, p in over.named_parameters()}
    found = stepped(make_optimizer(over, over.program, config), over)

    reference = model()
    means = {name: torch.zeros_like(p) for name, p in reference.named_parameters()}
    for batch in batches():
        reference.zero_grad()
        CrossEntropy()(reference(input_ids=batch["input_ids"]), batch)["loss"].backward()
        with torch.no_grad():
            for name, p in reference.named_parameters():
                assert p.grad is not None
                decay = 0.1 if p.dim() > 1 else 0.0
                p.sub_(1e-3 * (torch.sign(0.8 * means[name] + 0.2 * p.grad) + decay * p))
                means[name] = 0.95 * means[name] + 0.05 * p.grad
    wanted = {name: p.detach() for name, p in reference.named_parameters()}
    different = sum(int((found[n] - wanted[n]).abs().max() > 1e-5) for n in wanted)
    assert different <= 1  # a sign may fall otherwise where a sum is next to nothing
    assert all(not torch.equal(found[name], first[name]) for name in found)


EVERY: dict[str, Optimizer] = {
    "adamw": AdamW(),
    "sgd": Sgd(momentum=0.9),
    "adafactor": Adafactor(),
    "muon": Muon(),
    "pytorch_optimizer": PytorchOptimizer(name="ademamix"),
}


def test_every_kind_is_here():
    assert set(EVERY) == set(registry.names(Optimizer))


@pytest.mark.parametrize("kind", EVERY)
def test_a_state_that_is_put_back_goes_on_with_the_same_bits(kind: str):
    one, other = model(), model()
    optimizer = make_optimizer(one, one.program, EVERY[kind])
    stepped(optimizer, one)
    tensors, data = optimizer_state.pack(optimizer, one)
    tensors = {key: value.clone() for key, value in tensors.items()}
    copy = make_optimizer(other, other.program, EVERY[kind])
    optimizer_state.require_fitting(copy, other, tensors=tensors, data=data)
    optimizer_state.unpack(copy, other, tensors=tensors, data=data)
    other.load_state_dict(one.state_dict())
    after, same = stepped(optimizer, one), stepped(copy, other)
    assert [name for name in after if not torch.equal(after[name], same[name])] == []
    fresh = make_optimizer(other, other.program, EVERY[kind])
    other.load_state_dict(one.state_dict())
    without = stepped(fresh, other)
    one_more = stepped(optimizer, one)
    assert any(not torch.equal(one_more[name], without[name]) for name in without)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EVERY)
def test_a_run_in_two_parts_ends_with_the_bits_of_one(kind: str, tmp_path: Path, write_config: Callable[..., Path]):
    written = "{kind: pytorch_optimizer, name: ademamix}" if kind == "pytorch_optimizer" else kind
    config = write_config(optimizer=written, schedule="constant")
    train(config, sets=["out=once"], progress=False)
    train(config, sets=["out=parts", "steps=8"], progress=False)
    train(config, sets=["out=parts"], allow_changed=True, progress=False)
    last = "checkpoints/step-000012/model.safetensors"
    one, other = load_file(tmp_path / "once" / last), load_file(tmp_path / "parts" / last)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def refusal(write_config: Callable[..., Path], optimizer: str) -> str:
    with pytest.raises(RunConfigError) as caught:
        train(write_config(optimizer=optimizer), progress=False)
    return str(caught.value)


@pytest.mark.parametrize(
    ("optimizer", "texts"),
    [
        ("{kind: sgd, nesterov: true}", ("FX1520 optimizer.nesterov: has no effect without momentum",)),
        ("{kind: muon, momentum: 0.0}", ("FX1520 optimizer.momentum: nesterov has no effect",)),
        ("{kind: muon, betas: [0.9]}", ("FX1506 optimizer.betas",)),
        ("{kind: adafactor, clip_threshold: 0.5}", ("FX0206 optimizer.clip_threshold",)),
        ("{kind: pytorch_optimizer}", ("FX0202 optimizer.name",)),
        ("{kind: pytorch_optimizer, name: lionn}", ("FX1521 optimizer.name", "found lionn", "do: write lion\n")),
        (
            "{kind: pytorch_optimizer, name: lion, settings: {beta: 1.0}}",
            ("FX1521 optimizer.name", "an argument beta, which is none of"),
        ),
        ("{kind: pytorch_optimizer, name: lbfgs}", ("FX1521 optimizer.name", "cannot be used here")),
        ("{kind: pytorch_optimizer, name: schedulefreeadamw}", ("FX1521 optimizer.name", "for evaluation")),
        ("{kind: adam}", ("FX0203 optimizer: no Optimizer of this kind", "do: write adamw")),
    ],
)
def test_what_cannot_be_used_is_refused(write_config: Callable[..., Path], optimizer: str, texts: tuple[str, ...]):
    said = refusal(write_config, optimizer) + "\n"
    for text in texts:
        assert text in said


def test_without_the_library_the_message_says_how_to_get_it(
    write_config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    said = refusal(write_config, "{kind: pytorch_optimizer, name: lion}")
    assert "FX1521 optimizer.kind: the library pytorch_optimizer is not there" in said
    assert "pip install 'flexit-ml[train]'" in said


def test_a_group_is_one_of_torch():
    parameter = nn.Parameter(torch.zeros(2))
    assert Together((Moved("a", "gain", parameter),), 0.5, 0.0).settings() == {
        "params": [parameter], "lr": 0.5, "weight_decay": 0.0
    }  # fmt: skip
