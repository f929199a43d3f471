"""The example that compares position schemes: its sizes, and in miniature the whole way."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path

import pytest

from flexit.cli.app import run
from flexit.ir.analysis.cost import position_limit
from flexit.ir.compile import compile_spec
from flexit.runtime.compare.plan import plan
from flexit.runtime.compare.run import compare

EXAMPLE = Path(__file__).parents[3] / "examples" / "positions"


def test_six_schemes_at_equal_parameters() -> None:
    found = plan(EXAMPLE / "compare.yaml")
    assert [case.name for case in found.cases] == ["none", "learned", "rotary", "alibi", "t5", "relative"]
    sizes = [case.parameters for case in found.cases]
    assert max(sizes) / min(sizes) < 1.001
    limits = {case.name: position_limit(compile_spec(case.spec)) for case in found.cases}
    assert {name: limit for name, limit in limits.items() if limit is not None} == {"learned": 128}


@pytest.mark.slow
def test_two_of_them_in_miniature(tmp_path: Path) -> None:
    folder = tmp_path / "examples" / "positions"
    shutil.copytree(EXAMPLE, folder)
    library = Path(sysconfig.get_path("stdlib"))
    for part, name in (("train", "argparse"), ("test", "cmd")):
        place = tmp_path / "examples" / "shakespeare" / "data" / part
        place.mkdir(parents=True)
        shutil.copy(library / f"{name}.py", place / f"{name}.txt")
    small = ["steps=3", "schedule.warmup=1", "evaluate={every: 3, max_batches: 2}", "threads=1", "device=cpu"]
    text = (folder / "compare.yaml").read_text().replace("seeds: [0, 1]", f"seeds: [0]\nset: {json.dumps(small)}")
    kept = [line for line in text.splitlines() if not line.startswith(("  none", "  rotary", "  t5", "  relative"))]
    (folder / "compare.yaml").write_text("\n".join(kept).replace("512, 1024", "300"))
    found, (learned, alibi) = compare(folder / "compare.yaml", jobs=2, say=lambda _: None)
    assert learned.cannot(256) == learned.cannot(300) == "its table of positions has 128 rows"
    lengths = alibi.results[0]["lengths"]
    assert set(lengths) == {"128", "256", "300"} and alibi.cannot(300) is None
    assert lengths["128"]["validation_loss"] == alibi.results[0]["metrics"]["validation_loss"]
    assert len({found["validation_loss"] for found in lengths.values()}) == 3
    assert run(["runs", str(found.out)]) == 0
