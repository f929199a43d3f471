"""Do ``variants``, ``pattern`` and ``layers`` go together, and does every override change something?"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import Problem
from flexit.ir.checks.walk import Walk
from flexit.ir.language.layers import Varied, check_variation


def check(walk: Walk) -> Iterator[Problem]:
    """FX0601 to FX0607."""
    for site in walk.sites:
        if isinstance(site.block, Varied):
            for fault in check_variation(site.block):
                yield site.problem(fault)
