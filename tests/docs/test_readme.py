"""Every Python block of the README runs, in order, on the spec it shows."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.ort
def test_the_tour_runs(tmp_path, monkeypatch):
    text = README.read_text()
    yaml = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(yaml) == 1
    assert len(blocks) >= 4
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml[0])
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    assert scope["logits"].shape == (2, 12, 1000)
