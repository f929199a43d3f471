"""Modules with branches of low rank, and what they are once the branches are added to the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from flexit.errors import UserError
from flexit.ir.compile import compile_spec
from flexit.ir.passes.lora import beside
from flexit.ir.program import Program
from flexit.ir.spec import Spec
from flexit.lower.torch.initialise import seed_of
from flexit.lower.torch.module import FlexitModule, build, fill, to_torch
from flexit.runtime.adapters.lora import Adapter, Lora, adapter_in, adapter_of
from flexit.runtime.train.optimisation.freezing import hold
from flexit.runtime.train.wrong_fields import explained


def first_values(program: Program, adapter: Adapter, *, seed: int) -> dict[str, Tensor]:
    """First values of the branches: A uniform within ``1 / sqrt(width)``, as in the paper's code and in PEFT; B zero,
    so that the model computes what it did.
    """
    shapes = {param.path: param.shape for param in program.params()}
    values: dict[str, Tensor] = {}
    for a, b in map(beside, adapter.targets):
        generator = torch.Generator().manual_seed(seed_of(seed, a))
        bound = shapes[a][-1] ** -0.5
        values[a] = torch.empty(shapes[a]).uniform_(-bound, bound, generator=generator)
        values[b] = torch.zeros(shapes[b])
    return values


def adapted(
    spec: Spec, program: Program, adapter: Adapter, *, weights: Mapping[str, Any], seed: int, device: torch.device
) -> FlexitModule:  # fmt: skip
    """The module of a program with branches.

    Args:
        spec: of the model without them.
        program: with them.
        adapter: what they are.
        weights: of the model without them; of the branches too, where they are not new.
        seed: of the branches.
        device: where it lives.
    """
    module = build(program)
    module.spec = spec
    fill(module, {**first_values(program, adapter, seed=seed), **weights}, dtype=torch.float32, device=device)
    hold(module, program)
    module.adapter = adapter  # pyright: ignore[reportArgumentType]
    return module


def adapted_as(spec: Spec, adapter: Adapter, weights: Mapping[str, Any]) -> FlexitModule:
    """The module of a spec with branches, whose numbers are among the weights."""
    cpu = torch.device("cpu")
    return adapted(spec, adapter.program(compile_spec(spec)), adapter, weights=weights, seed=0, device=cpu)


def add_lora(model: FlexitModule, *, seed: int = 0, **settings: Any) -> FlexitModule:
    """A copy of a model with branches of low rank beside its matrices, in which they alone learn.

    Args:
        model: a module of :func:`flexit.to_torch`.
        seed: of the branches.
        settings: ``rank``, ``alpha``, ``targets`` and so on, as ``lora`` of a run config has them.

    Raises:
        UserError: FX2210, an entry means nothing that can be adapted; a setting is wrong; FX2007, the model has
            branches already.
    """
    if adapter_in(model) is not None:
        raise UserError.of(
            "FX2007", "model cannot be used", path="model", expected="a model without branches", found="one with LoRA",
            cure="add them to the weights first: flexit.merge_lora(model)",
        )  # fmt: skip
    try:
        wanted = Lora.model_validate(settings)
    except ValidationError as error:
        raise explained(Lora, settings, error) from None
    adapter = adapter_of(model.program, wanted)
    weights = dict(model.named_parameters())
    device = next(iter(weights.values())).device
    return adapted(model.spec, adapter.program(model.program), adapter, weights=weights, seed=seed, device=device)


def merge_lora(model: FlexitModule) -> FlexitModule:
    """The model without branches that computes the same: they are added to the weights, ``W + scale * B A``.

    Raises:
        UserError: FX2007, it has none.
    """
    adapter = adapter_in(model)
    if adapter is None:
        raise UserError.of(
            "FX2007", "model cannot be used", path="model", expected="a model of flexit.add_lora", found="no branches",
            cure="use the model as it is",
        )  # fmt: skip
    weights = {name: value.detach() for name, value in model.named_parameters()}
    for path in adapter.targets:
        a, b = (weights.pop(name) for name in beside(path))
        weights[path] = (weights[path].double() + adapter.scale * b.double() @ a.double()).to(weights[path].dtype)
    plain = {param.path for param in compile_spec(model.spec).params()}
    merged = to_torch(
        model.spec, {name: weights[name] for name in plain}, dtype=next(iter(weights.values())).dtype,
        device=next(iter(weights.values())).device, allow_memory=True,
    )  # fmt: skip
    return merged.train(model.training)
