"""Frozen parameters: the same bits after training, no state, no gradient; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import flexit
from flexit.errors import CheckpointError, RunConfigError, UserError
from flexit.ir.analysis.cost import cost
from flexit.ir.compile import compile_spec
from flexit.ir.io.load import load_spec
from flexit.ir.passes.freeze import freeze as frozen_program
from flexit.lower.torch.module import to_torch
from flexit.runtime.train.optimisation.freezing import freeze
from flexit.runtime.train.resources.memory import training_memory
from flexit.runtime.train.run import make_plan, train

FREEZE = "[{match: 'decoder.layers.0.*'}, {role: embedding}]"


def held(name: str) -> bool:
    return name.startswith("decoder.layers.0.") or name == "embed.tokens.weight"


def test_a_run_leaves_them_as_they_are(write_config: Callable[..., Path]):
    """With decay and momentum, which would move what has a gradient of zero too."""
    config = write_config(freeze=FREEZE, optimizer="{kind: adamw, lr: 1e-2, weight_decay: 0.5}", ema="{decay: 0.9}")
    plan = make_plan(config)
    first = {n: p.detach().clone() for n, p in to_torch(plan.model.spec, seed=plan.config.seed).named_parameters()}
    result = train(config, progress=False)
    assert result.checkpoint is not None
    for folder in (result.checkpoint, result.checkpoint / "ema"):
        last = load_file(folder / "model.safetensors")
        assert {name for name in first if torch.equal(first[name], last[name])} == {*filter(held, first)}
    state = load_file(result.checkpoint / "training" / "optimizer.safetensors")
    assert {key.partition("/")[2] for key in state} == {name for name in first if not held(name)}


def test_what_is_frozen_is_part_of_the_run(write_config: Callable[..., Path]):
    train(write_config(freeze=FREEZE, steps="4"), progress=False)
    with pytest.raises(CheckpointError, match=r"freeze.*changed since"):
        train(write_config(steps="4"), progress=False)


@pytest.mark.parametrize(
    ("freeze", "code", "text"),
    [
        ("[{match: decoder.layer.*}]", "FX1522", "freeze[0]: means no parameter"),
        ("[{role: embedding}, {}]", "FX1522", "freeze[1]: means no parameter"),
        ("[{match: '*'}]", "FX1523", "freeze: nothing is left to learn"),
    ],
)
def test_entries_that_cannot_be_meant_are_refused(write_config: Callable[..., Path], freeze: str, code: str, text: str):
    with pytest.raises(RunConfigError) as caught:
        make_plan(write_config(freeze=freeze))
    assert [problem.code for problem in caught.value.problems] == [code]
    assert text in str(caught.value) and "run.yaml:15:" in str(caught.value)


def test_groups_mean_what_learns(write_config: Callable[..., Path]):
    groups = "{kind: adamw, groups: [{role: embedding, lr_factor: 0.5}]}"
    with pytest.raises(RunConfigError, match=r"optimizer.groups\[0\]: means no parameter"):
        make_plan(write_config(freeze=FREEZE, optimizer=groups))


def test_the_predicted_memory_has_neither_gradients_nor_moments_of_them(write_config: Callable[..., Path]):
    plan = make_plan(write_config(freeze=FREEZE))
    whole = make_plan(write_config())
    params = [*plan.model.program.params()]
    frozen = sum(param.size for param in params if held(param.path))
    assert {param.path for param in params if not param.trained} == {*filter(held, (p.path for p in params))}
    saved = training_memory(whole.model.program, whole.config) - training_memory(plan.model.program, plan.config)
    needs = [cost(each.model.program, batch=4, seq=16) for each in (whole, plan)]
    assert saved == 12 * frozen + 4 * (needs[0].kept - needs[1].kept)
    assert needs[0].kept > needs[1].kept and needs[0].flops == needs[1].flops


def test_only_instances_that_differ_become_other_regions():
    program = compile_spec(load_spec("tiny-llama", sets=["blocks.decoder.n_layers=4"]))
    all_alike = frozen_program(program, [p.path for p in program.params() if p.path.endswith("q_proj.weight")])
    one_apart = frozen_program(program, ["decoder.layers.2.attention.q_proj.weight"])

    def regions(of: Any) -> int:
        from flexit.ir.program import walk

        return len({id(region) for _, region in walk(of.root)})

    assert regions(all_alike) == regions(program) < regions(one_apart)
    assert frozen_program(program, []) is program
    assert [p.path for p in one_apart.params() if p.frozen] == ["decoder.layers.2.attention.q_proj.weight"]


def test_in_python(spec: Any):
    model = to_torch(spec)
    names = freeze(model, "embed.*", {"role": "gain"})
    assert {*names} == {n for n, _ in model.named_parameters() if n.startswith("embed.") or "norm" in n}
    with pytest.raises(UserError, match="FX1523"):
        freeze(model, "*")
    with pytest.raises(UserError, match=r"FX1522.*no parameter"):
        freeze(model, "embedding.*")
    with pytest.raises(UserError, match="FX0201"):
        freeze(model, {"mach": "embed.*"})
    with pytest.raises(UserError, match="FX2007"):
        freeze(torch.nn.Linear(2, 2), "*")
    assert flexit.freeze is freeze
