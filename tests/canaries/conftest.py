"""The canary specs: shapes of model that each go the whole way with no special case anywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from flexit.ir.language.written import Node
from flexit.ir.spec import Spec
from flexit.lower.torch.module import FlexitModule
from flexit.runtime.bundles.export import export
from flexit.runtime.proof.grid import Case, inputs_for
from tests.stressed import stressed as on_stress_weights

SPECS = sorted((Path(__file__).parent / "specs").glob("*.yaml"))


def load(path: Path) -> Spec:
    return Spec.model_validate(Node.of(YAML(typ="safe").load(path.read_text())).plain())


@pytest.fixture(params=SPECS, ids=lambda path: path.stem)
def canary(request) -> Spec:
    return load(request.param)


@pytest.fixture
def stressed():
    """A function from a spec to its module on stress weights."""
    return on_stress_weights


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A function from a spec to its module on stress weights and the folder of its bundle, written once."""
    made: dict[str, tuple[FlexitModule, Path]] = {}

    def of(spec: Spec) -> tuple[FlexitModule, Path]:
        if spec.name not in made:
            module = on_stress_weights(spec)
            folder = tmp_path_factory.mktemp("canary") / "bundle"
            export(module, folder)
            made[spec.name] = module, folder
        return made[spec.name]

    return of


@pytest.fixture
def batch():
    """A function from a module to padded inputs, as tensors."""

    def make(module: FlexitModule, rows: int = 3, length: int = 9) -> dict[str, torch.Tensor]:
        arrays = inputs_for(module.program, Case(rows, length, 0), np.random.default_rng(7))
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    return make
