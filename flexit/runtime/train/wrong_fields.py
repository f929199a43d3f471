"""What pydantic found wrong with settings written in Python, said as the command line says it of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flexit.errors import RunConfigError
from flexit.ir.faults import in_order
from flexit.ir.language.annotations import FieldType, GroupOf
from flexit.ir.language.kinds import Group
from flexit.ir.language.written import Node
from flexit.ir.schema.explain import explain
from flexit.ir.schema.locate import locate


def explained(cls: type[Group], given: Mapping[str, Any], error: ValidationError) -> RunConfigError:
    """The error that lists every wrong field of a group that was given as keyword arguments."""
    root = Node.of(given)
    document = FieldType((GroupOf(cls),))
    spots = ((locate(document, root, entry["loc"]), entry) for entry in error.errors(include_url=False))
    return RunConfigError(
        in_order(explain(spot, entry["type"], entry.get("ctx", {})) for spot, entry in spots if spot is not None)
    )
