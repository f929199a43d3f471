"""Do ``tied_to`` and ``shares`` name blocks whose parameters are there when they are needed?"""

from __future__ import annotations

from collections.abc import Iterator

from flexit.errors import Problem
from flexit.ir.block import Fault
from flexit.ir.checks.walk import Walk
from flexit.ir.expansion.expand import tables
from flexit.ir.wording import nearest, shown


def check(walk: Walk) -> Iterator[Problem]:
    """FX0701."""
    yield from _tied(walk)


def _tied(walk: Walk) -> Iterator[Problem]:
    known = tables(walk.spec)
    for site in walk.sites:
        tied = getattr(site.block, "tied_to", None)
        if not isinstance(tied, str):
            continue
        scope = site.scope.path if site.scope is not None else site.path.rpartition(".")[0]
        near = {path.removeprefix(f"{scope}."): path for path in known if scope and path.startswith(f"{scope}.")}
        legal = [*near, *(path for path in known if path not in near.values())]
        if tied in legal or tied in known:
            continue
        itself = tied == site.name
        owners = f"one of {', '.join(legal)}" if legal else "a block that owns a token table, of which there is none"
        yield site.problem(Fault(
            code="FX0701", field="tied_to",
            message="names the block itself" if itself else "no block here owns a token table by this name",
            expected=owners, found=shown(tied),
            cure=f"write {nearest(tied, legal) or legal[0]}" if legal else "delete tied_to",
        ))  # fmt: skip
