"""Pages on the library do what they say: the Python blocks of each part run in order, as one program."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "python-api.md").read_text(encoding="utf-8")
COMING = (DOCS / "coming-from-flexitransformers.md").read_text(encoding="utf-8")
PARTS = {
    title: re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for title, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
}
FIELDS = re.findall(r"^\| `(\w+)` \|", PAGE.partition("### TrainingConfig")[2].partition("###")[0], re.MULTILINE)


@pytest.mark.ort
@pytest.mark.parametrize("title", PARTS)
def test_the_blocks_of_a_part_run(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert PARTS[title]
    scope: dict[str, object] = {"__name__": "example"}
    for block in PARTS[title]:
        exec(compile(block, f"python-api.md: {title}", "exec"), scope)


@pytest.mark.ort
def test_what_comes_from_flexitransformers_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", COMING, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "coming-from-flexitransformers.md", "exec"), {"__name__": "example"})


def test_every_field_of_the_training_config_is_there():
    from flexit.runtime.train.config import TrainingConfig

    assert list(TrainingConfig.model_fields) == FIELDS


def test_every_hook_is_there():
    from flexit.runtime.train.callbacks.callback import Callback

    hooks = re.findall(r"^\| `(\w+)\(trainer", PAGE, re.MULTILINE)
    own = [name for name, value in vars(Callback).items() if callable(value) and not name.endswith("state_dict")]
    assert [name for name in own if not name.startswith("_")] == hooks
