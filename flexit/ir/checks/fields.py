"""Do the fields of each block go together, by its own account?"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.checks.walk import Site, Walk
from flexit.ir.faults import field_keys

INERT = ("FX0501", "FX0504")
VARIATION = ("FX0601", "FX0602", "FX0603", "FX0604", "FX0607")
"""What :mod:`flexit.ir.checks.variation` reports."""


def check(walk: Walk) -> Iterator[Problem]:
    """Every fault of every block's own check, FX04xx and FX05xx above all."""
    for site in walk.sites:
        for fault in site.block.check():
            if fault.code not in VARIATION and not _made_inert(site, fault):
                yield site.problem(fault)


def _made_inert(site: Site, fault: Fault) -> bool:
    """Whether an override took away what a value of the layer as written depends on, which is no error."""
    if site.base is None or fault.code not in INERT or site.block.node is None:
        return False
    found, left = site.block.node.find(field_keys(site.block.node, fault.field))
    return not left and found.path[: len(site.base.path)] == site.base.path
