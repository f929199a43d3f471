"""Specs and run configs as the text that is kept in run folders and checkpoints."""

from __future__ import annotations

import io
import json
from typing import Any

from ruamel.yaml import YAML

from flexit.ir.language.kinds import Group, Kind, is_inferred
from flexit.ir.language.layers import as_written
from flexit.ir.spec import Spec


def spec_json(spec: Spec) -> str:
    """A spec as JSON."""
    return json.dumps(as_written(spec), indent=1)


def spec_of(model: object) -> Spec | None:
    """The spec that a module was made from, if it was made from one."""
    spec = getattr(model, "spec", None)
    return spec if isinstance(spec, Spec) else None


def to_yaml(data: Any) -> str:
    """Plain data as YAML."""
    stream = io.StringIO()
    writer = YAML()
    writer.default_flow_style = None
    writer.width = 140
    writer.dump(json.loads(json.dumps(data)), stream)
    return stream.getvalue()


def config_data(config: Group) -> dict[str, Any]:
    """A config as complete plain data: defaults written out, what is to be inferred left out."""
    return _plain(config)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if not hasattr(type(value), "model_fields"):
        return value
    data: dict[str, Any] = {"kind": value.kind} if isinstance(value, Kind) else {}
    entries = {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    return data | {
        name: entry for name, entry in entries.items() if entry is not None or not is_inferred(type(value), name)
    }
