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
from flexit.ir.schema.phase import explained as problems_of


def explained(cls: type[Group], given: Mapping[str, Any], error: ValidationError) -> RunConfigError:
    """The error that lists every wrong field of a group that was given as keyword arguments."""
    return RunConfigError(in_order(problems_of(error, FieldType((GroupOf(cls),)), Node.of(given))))
