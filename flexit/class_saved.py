"""A class-style model as a folder that ``flexit export`` takes too: spec, weights, and the config of its class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from flexit.configs import ModelConfig
from flexit.errors import CheckpointError, UserError
from flexit.files.folder import writing
from flexit.runtime.train.describe import spec_json
from flexit.runtime.train.saving import checkpoint
from flexit.version import __version__

if TYPE_CHECKING:
    from flexit.models import BaseModel

CONFIG, SPEC, WEIGHTS = "model_config.json", "spec.json", "model.safetensors"
MAX_BYTES = 2**20


def config_json(config: ModelConfig) -> str:
    """What a checkpoint says of the class: the fields that were given."""
    return json.dumps({"flexit": __version__, "files": [SPEC, WEIGHTS], "config": config.model_dump(mode="json")})


def save_model(model: BaseModel, folder: str | Path, *, force: bool = False) -> Path:
    """Write a model, durably and at once.

    Args:
        model: what to write.
        folder: new, or with ``force`` one that was written so.
        force: replace it.

    Returns:
        The folder.

    Raises:
        UserError: FX1301, the folder exists; FX1302, it may not be replaced.
        ResourceError: FX1304, the operating system refused.
    """
    from safetensors.torch import save_file

    with writing(folder, marker=CONFIG, force=force) as temporary:
        arrays = {name: value.cpu().contiguous() for name, value in checkpoint.weights_of(model).items()}
        save_file(arrays, temporary / WEIGHTS)
        (temporary / SPEC).write_text(spec_json(model.spec), encoding="utf-8")
        (temporary / CONFIG).write_text(config_json(model.config), encoding="utf-8")
    return Path(folder)


def load_model(cls: type[BaseModel], folder: str | Path) -> BaseModel:
    """The model in a folder that :func:`save_model` wrote, in a checkpoint of training, or in the newest one of a run.

    Args:
        cls: a class whose topology it has; ``BaseModel``: the class of its topology.
        folder: where it lies.

    Raises:
        CheckpointError: FX1201, there is none, or it is damaged; FX1202, its weights are of another model.
        UserError: FX2001, it is of another topology than the class.
    """
    from safetensors import SafetensorError

    from flexit.models import BaseModel, TransformerFactory

    place = _checkpoint(Path(folder))
    config = _config(place)
    if cls.topology not in (None, config.topology):
        raise UserError.of(
            "FX2001", f"{place} is of another class", path=str(folder), expected=f"a model that is {cls.topology}",
            found=config.topology, cure=f"load it as {TransformerFactory.classes[config.topology].__name__}",
        )  # fmt: skip
    kind = TransformerFactory.classes[config.topology] if cls is BaseModel else cls
    model = kind.from_config(config, seed=0)
    checkpoint.require_whole(place)
    try:
        arrays = checkpoint.read_weights(model, place)
    except (OSError, SafetensorError) as error:
        raise _none(place, str(error)) from error
    checkpoint.copy_weights(arrays, model)
    return model.eval()


def _checkpoint(folder: Path) -> Path:
    """The folder itself, or the newest checkpoint of a run."""
    if (folder / CONFIG).is_file():
        return folder
    found = checkpoint.checkpoints(folder / "checkpoints")
    if not found or not (found[-1] / CONFIG).is_file():
        raise _none(folder, "no such file")
    return found[-1]


def _config(folder: Path) -> ModelConfig:
    try:
        with (folder / CONFIG).open("rb") as file:
            data = json.loads(file.read(MAX_BYTES))
        return ModelConfig(**cast("dict[str, object]", data["config"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        raise _none(folder, str(error).splitlines()[0]) from error


def _none(folder: Path, found: str) -> CheckpointError:
    return CheckpointError.of(
        "FX1201", f"{folder} holds no model of a class", expected=f"{CONFIG}, {SPEC} and {WEIGHTS}", found=found,
        cure="give a folder that model.save or a CheckpointCallback wrote; flexit.load_checkpoint reads any other",
    )  # fmt: skip
