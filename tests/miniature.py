"""Presets as small as they go, with windows that short rows reach over."""

import json
from functools import cache
from typing import Any

from flexit.ir.io.load import load_spec, parse_spec
from flexit.ir.shrink import shrink
from flexit.ir.spec import Spec

WINDOW = 5
"""Below the lengths that tests run."""


@cache
def miniature(name: str) -> Spec:
    """The preset of a name, shrunk."""
    spec = shrink(load_spec(name))
    assert spec.node is not None
    return parse_spec(json.dumps(_narrowed(spec.node.plain())))


def _narrowed(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: WINDOW if key == "window" else _narrowed(value) for key, value in data.items()}
    return [_narrowed(value) for value in data] if isinstance(data, list) else data
