"""A run that is finished is left alone, whatever is said of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flexit.errors import CheckpointError
from flexit.runtime.train.run import train
from flexit.runtime.train.saving.checkpoint import checkpoints
from flexit.runtime.train.trainer import Result

LINES = {"steps": "4", "schedule": "constant", "evaluate": "{every: 2, max_batches: 1}", "checkpoint": "{every: 2}"}


def state(run: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a run, with the time when it was written."""
    return {
        str(path.relative_to(run)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def same(one: Result, two: Result) -> bool:
    """Whether two results are of one run; only one of the two made an update."""
    return [getattr(one, name) for name in ("step", "tokens", "validation_loss", "checkpoint")] == [
        getattr(two, name) for name in ("step", "tokens", "validation_loss", "checkpoint")
    ]


def test_nothing_of_it_is_touched(
    tmp_path: Path, write_config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
):
    first = train(write_config(**LINES), progress=False)
    before = state(tmp_path / "run")
    assert same(train(write_config(**LINES)), first)
    assert "step 4 of 4 is done already; nothing to train" in capsys.readouterr().err
    assert state(tmp_path / "run") == before
    changed = write_config(**LINES | {"optimizer": "{kind: adamw, lr: 0.5}", "log": "{every: 1}"})
    with pytest.raises(CheckpointError, match=r"optimizer\.lr"):
        train(changed, progress=False)
    assert state(tmp_path / "run") == before
    (tmp_path / "corpus" / "ast.py").unlink()
    assert same(train(changed, allow_changed=True, progress=False), first)
    assert same(train(write_config(**LINES | {"steps": "2"}), allow_changed=True, progress=False), first)
    assert state(tmp_path / "run") == before


def test_more_steps_go_on(tmp_path: Path, write_config: Callable[..., Path]):
    train(write_config(**LINES), progress=False)
    more = write_config(**LINES | {"steps": "6"})
    with pytest.raises(CheckpointError, match=r"FX1202 steps: .*\n.*expected 4; found 6"):
        train(more, progress=False)
    assert train(more, allow_changed=True, progress=False).step == 6
    assert "steps: 6" in (tmp_path / "run" / "config.yaml").read_text()
    assert train(more, progress=False).step == 6


@pytest.mark.parametrize(
    ("override", "path", "allowed"),
    [
        ("blocks.decoder.layer.dropout=0.1", "spec.blocks.decoder.layer.dropout", True),
        ("blocks.decoder.layer.feed_forward.d_ff=48", "spec.blocks.decoder.layer.feed_forward.d_ff", False),
    ],
)
def test_a_changed_spec_is_told_field_by_field(
    tmp_path: Path, write_config: Callable[..., Path], override: str, path: str, allowed: bool
):
    train(write_config(**LINES), progress=False)
    changed = write_config(**LINES | {"steps": "5", "set": f'["blocks.embed.vocab_size=300", "{override}"]'})
    with pytest.raises(CheckpointError) as caught:
        train(changed, progress=False)
    problems = {problem.path: problem for problem in caught.value.problems}
    assert problems[path].found == override.partition("=")[2]
    assert {"--allow-changed" in problem.cure for problem in caught.value.problems} == {allowed}
    if allowed:
        assert train(changed, allow_changed=True, progress=False).step == 5
    else:
        with pytest.raises(CheckpointError, match="is of another model"):
            train(changed, allow_changed=True, progress=False)


def test_a_learning_rate_that_is_allowed_to_change_does(tmp_path: Path, write_config: Callable[..., Path]):
    lines = LINES | {"log": "{every: 1}"}
    train(write_config(**lines), progress=False)
    changed = write_config(**lines | {"optimizer": "{kind: adamw, lr: 0.5}", "steps": "5"})
    train(changed, allow_changed=True, progress=False)
    last = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert any('"step": 5' in line and '"lr": 0.5' in line for line in last)


def test_a_finished_run_whose_last_checkpoint_is_damaged_goes_on(tmp_path: Path, write_config: Callable[..., Path]):
    config = write_config(**LINES)
    train(config, progress=False)
    newest = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    shutil.copyfile(newest / "spec.json", newest / "model.safetensors")
    assert train(config, progress=False).step == 4
    assert (newest / "model.safetensors").read_bytes() != (newest / "spec.json").read_bytes()


def test_a_trainer_in_python_that_is_done(tmp_path: Path):
    from tests.runtime.train.plain import batches, trainer

    trainer(batches(3), out=tmp_path).fit(steps=3)
    before = state(tmp_path)
    run = trainer(batches(3), out=tmp_path, seed=5)
    run.resume(allow_changed=True)
    assert run.fit(steps=3).step == 3
    assert state(tmp_path) == before
